"""Files on a disk and in an object store (`gs://`) alike.

What both can do, and all that is used here: write a whole file from beginning to end, remove one,
list a folder. An object store can neither rename a folder nor append to a file; a file appears
there whole, when it is closed. Whatever the system refuses is an OSError.
"""

import contextlib
import os
import shutil
import zlib
from typing import NamedTuple

import numpy as np

from tfbert.io import paths as remote
from tfbert.io.paths import is_remote

_CHUNK = 4 << 20  # bytes: large enough to be fast, small enough to let other threads in


class Digest(NamedTuple):
    """What a file holds: `size` in bytes and CRC-32, which finds damage and not forgery."""

    size: int
    crc32: int


def join(folder, *names):
    """A path below a folder; `pathlib` would make `gs:/` of `gs://`."""
    return os.path.join(os.fspath(folder), *names)


def write_file(path, parts):
    """Writes a file in pieces, so that no copy of the whole is made.

    Args:
        path: Where to; what is there is replaced.
        parts: Iterable of bytes or arrays of any dtype.

    Returns:
        `Digest` of what was written.

    Raises:
        OSError: If the system refuses.
    """
    size = crc32 = 0
    with _opened(path, "wb") as file:
        for part in parts:
            flat = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else _as_bytes(part)
            for begin in range(0, flat.size, _CHUNK):
                chunk = flat[begin : begin + _CHUNK]
                crc32 = zlib.crc32(chunk, crc32)
                # TensorFlow's files take nothing but bytes.
                file.write(chunk.tobytes() if is_remote(path) else chunk)
            size += flat.size
        if not is_remote(path):
            file.flush()
            os.fsync(file.fileno())
    return Digest(size, crc32)


def read_file(path):
    """Reads a file.

    Returns:
        (size,) uint8 array, which can be written to, and the `Digest`.

    Raises:
        OSError: If it cannot be read.
    """
    crc32, position = 0, 0
    with _opened(path, "rb") as file:
        # Of the file that is open: another one may have taken its place.
        size = file.size() if is_remote(path) else os.fstat(file.fileno()).st_size
        content = np.empty(size, np.uint8)
        while position < content.size:
            if is_remote(path):
                chunk = np.frombuffer(file.read(_CHUNK), np.uint8)
                content[position : position + chunk.size] = chunk
            else:
                count = file.readinto(memoryview(content)[position : position + _CHUNK])
                chunk = content[position : position + count]
            if not chunk.size:
                raise OSError(f"{path}: ends after {position} of {content.size} bytes")
            crc32 = zlib.crc32(chunk, crc32)
            position += chunk.size
    return content, Digest(content.size, crc32)


def file_size(path):
    """Bytes of a file."""
    if not is_remote(path):
        return os.path.getsize(path)
    with _gfile() as functions:
        return functions.stat(path).length


def modified(path):
    """When a file was written, in seconds since 1970."""
    if not is_remote(path):
        return os.path.getmtime(path)
    with _gfile() as functions:
        return functions.stat(path).mtime_nsec / 1e9


def write_whole(path, content):
    """Writes bytes: a reader finds the old content or the new one."""
    if is_remote(path):
        write_file(path, [content])
        return
    temporary = f"{path}.writing-{os.getpid()}"
    try:
        write_file(temporary, [content])
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def remove(path):
    """Removes a file or a folder with all that is in it; what is not there is no error."""
    if not exists(path):
        return
    if is_remote(path):
        with _gfile() as functions:
            (functions.rmtree if functions.isdir(path) else functions.remove)(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def exists(path):
    """Whether there is a file or a folder."""
    if not is_remote(path):
        return os.path.lexists(path)
    with _gfile() as functions:
        return functions.exists(path)


def make_folder(path):
    """Makes a folder; an object store has it as soon as a file is in it."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)


def names(folder):
    """Names in a folder, sorted; none where there is no folder."""
    if not is_remote(folder):
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    with _gfile() as functions:
        if not functions.isdir(folder):
            return []
        return sorted(name.rstrip("/") for name in functions.listdir(folder))


def _as_bytes(array):
    """The bytes of an array, (size,) uint8, without a copy where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


@contextlib.contextmanager
def _opened(path, mode):
    """Python's own files are faster: they need no bytes objects on the way."""
    if not is_remote(path):
        with open(path, mode) as file:
            yield file
        return
    with _gfile() as functions, functions.GFile(path, mode) as file:
        yield file


@contextlib.contextmanager
def _gfile():
    """TensorFlow's file functions, whose errors are Python's."""
    functions = remote.gfile()
    import tensorflow as tf

    try:
        yield functions
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.OpError as error:
        raise OSError(error.message) from error

"""Paths on gs://: what `etils.epath` lacks for them, and TensorFlow's errors as Python's own.

An object store has no folders: a folder is there as soon as a file is in it, and cannot be renamed.
A file appears whole once it is written to its end; nothing can be appended to it.

epath reaches gs:// through tf.io.gfile. It translates a few of TensorFlow's errors, in some
methods; here every call is translated, so that callers need to handle OSError alone. This module is
imported with the first path on gs://, and TensorFlow at the first request.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import functools
import io
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import IO, Any

from etils.epath import backend, gpath

from tfbert.errors import InputError, first_line

_BUFFER = 1 << 20  # bytes a request: each one takes tens of milliseconds


def gfile() -> Any:
    """TensorFlow's file functions.

    Raises:
        InputError: If this TensorFlow cannot open gs://.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if "gs" not in tf.io.gfile.get_registered_schemes():
        raise InputError(
            "gs:// cannot be read by this TensorFlow: pip install 'tensorflow[gcs-filesystem]', or "
            "copy the files with `gcloud storage cp`"
        )
    return tf.io.gfile


@contextlib.contextmanager
def _system_errors(path: Any) -> Iterator[None]:
    """TensorFlow's errors as OSError."""
    import tensorflow as tf

    codes = {
        tf.errors.NotFoundError: errno.ENOENT,
        tf.errors.PermissionDeniedError: errno.EACCES,
        tf.errors.UnauthenticatedError: errno.EACCES,
        tf.errors.AlreadyExistsError: errno.EEXIST,
    }
    try:
        yield
    except tf.errors.OpError as error:
        code = codes.get(type(error), errno.EIO)
        raise OSError(code, first_line(error.message), str(path)) from error


class _Translated:
    """tf.io.gfile, whose functions raise OSError."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(gfile(), name)

        @functools.wraps(function)
        def translated(path: Any, *arguments: Any, **options: Any) -> Any:
            with _system_errors(path):
                return function(path, *arguments, **options)

        return translated


class _Backend(type(backend.tf_backend)):  # type: ignore[misc] # its class has no public name
    gfile = _Translated()


_BACKEND = _Backend()


class StorePath(gpath.PosixGPath):
    """A file or folder on gs://.

    Every method behaves as pathlib's of the same name, and raises OSError where it fails.
    """

    @property
    def _backend(self) -> Any:
        return _BACKEND

    def open(self, mode: str = "r", *, encoding: str | None = None, **options: Any) -> IO[Any]:
        """Opens the file: `r` or `w`, with `b` for bytes.

        Unlike epath's, what it returns is a file of Python's own, with `readline` and `seek`.
        """
        raw = _File(self, "wb" if "w" in mode else "rb")
        file: Any = (io.BufferedWriter if raw.writable() else io.BufferedReader)(raw, _BUFFER)
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8")

    def stat(self) -> Any:
        """Size and time of the file: `st_size` in bytes, `st_mtime_ns`."""
        status = _BACKEND.gfile.stat(str(self))
        return SimpleNamespace(st_size=status.length, st_mtime_ns=status.mtime_nsec)

    def mkdir(self, mode: Any = None, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: a folder is there as soon as a file is in it."""

    def iterdir(self) -> Iterator[StorePath]:
        return iter(sorted(super().iterdir()))

    def glob(self, pattern: str) -> list[StorePath]:
        """Files and folders right in this one whose names match."""
        if not self.is_dir():
            return []
        return [path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern)]

    def rglob(self, pattern: str) -> list[StorePath]:
        """Files in this folder and in those below it whose names match, in order."""
        found = []
        for path in self.iterdir():
            if path.is_dir():
                found += path.rglob(pattern)
            elif fnmatch.fnmatchcase(path.name, pattern):
                found.append(path)
        return found

    def is_symlink(self) -> bool:
        return False

    def resolve(self, strict: bool = False) -> StorePath:
        return self


class _File(io.RawIOBase):
    """A file on gs:// for Python's buffered readers and writers."""

    def __init__(self, path: StorePath, mode: str) -> None:
        self._path, self._mode = path, mode
        self._file: Any = None
        with _system_errors(path):
            self._file = gfile().GFile(str(path), mode)
            # Opens it, so that a missing file is found here.
            self._size = self._file.size() if mode == "rb" else 0

    def readable(self) -> bool:
        return self._mode == "rb"

    def writable(self) -> bool:
        return self._mode == "wb"

    def seekable(self) -> bool:
        return self._mode == "rb"

    def readinto(self, buffer: Any) -> int:
        with _system_errors(self._path):
            piece = self._file.read(min(len(buffer), self._size - self._file.tell()))
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, content: Any) -> int:
        with _system_errors(self._path):
            self._file.write(bytes(content))  # it takes nothing but bytes
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        with _system_errors(self._path):
            self._file.seek(start + offset)
        return start + offset

    def tell(self) -> int:
        with _system_errors(self._path):
            return self._file.tell()

    def close(self) -> None:
        try:
            if not self.closed and self._file is not None:
                with _system_errors(self._path):
                    self._file.close()
        finally:
            super().close()

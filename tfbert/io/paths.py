"""Paths on gs://, with the part of pathlib's interface that this package uses, over tf.io.gfile.

TensorFlow is imported at the first look at such a path, never for local ones. An object store has
no folders: a folder is there as soon as a file is in it, and cannot be renamed. A file appears
whole once it is written to its end; nothing can be appended to it.
"""

import contextlib
import errno
import fnmatch
import functools
import io
import os
import re
from pathlib import Path
from types import SimpleNamespace

from tfbert.errors import InputError

_SCHEME = "gs://"
_BUFFER = 1 << 20  # bytes a request: each one takes tens of milliseconds


def is_remote(path):
    """Whether a path is an address on gs://."""
    return os.fspath(path).startswith(_SCHEME)


def as_path(path):
    """A `pathlib.Path`, or a `RemotePath` for an address on gs://."""
    return RemotePath(path) if is_remote(path) else Path(path)


def gfile():
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
def _system_errors(path):
    """TensorFlow's errors as Python's own, so that callers need to know one kind."""
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
        message = str(error.message).strip().partition("\n")[0]
        raise OSError(codes.get(type(error), errno.EIO), message, str(path)) from error


def _translated(method):
    @functools.wraps(method)
    def translated(self, *arguments, **options):
        with _system_errors(self):
            return method(self, *arguments, **options)

    return translated


@functools.total_ordering
class RemotePath(os.PathLike):
    """A file or folder on gs://.

    Every method behaves as pathlib's of the same name, and raises OSError where it fails.

    Args:
        path: Its address, `gs://bucket/folder/file`.
    """

    def __init__(self, path):
        bucket, *parts = os.fspath(path).removeprefix(_SCHEME).split("/")
        self._parts = (bucket, *filter(None, parts))

    def __str__(self):
        return _SCHEME + "/".join(self._parts)

    def __fspath__(self):
        return str(self)

    def __repr__(self):
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other):
        return isinstance(other, RemotePath) and self._parts == other._parts

    def __lt__(self, other):
        return self._parts < other._parts

    def __hash__(self):
        return hash(self._parts)

    def __truediv__(self, name):
        return RemotePath(f"{self}/{os.fspath(name)}")

    @property
    def name(self):
        return self._parts[-1]

    @property
    def suffix(self):
        return Path(self.name).suffix

    @property
    def parent(self):
        return RemotePath(_SCHEME + "/".join(self._parts[:-1] or self._parts))

    def with_name(self, name):
        return self.parent / name

    def relative_to(self, folder):
        """The path below a folder, as text."""
        return "/".join(self._parts[len(folder._parts) :])

    @_translated
    def exists(self):
        return gfile().exists(str(self))

    @_translated
    def is_dir(self):
        return gfile().isdir(str(self))

    @_translated
    def is_file(self):
        return gfile().exists(str(self)) and not gfile().isdir(str(self))

    def is_symlink(self):
        return False

    @_translated
    def stat(self):
        """Size and time of the file: `st_size` in bytes, `st_mtime_ns`."""
        status = gfile().stat(str(self))
        return SimpleNamespace(st_size=status.length, st_mtime_ns=status.mtime_nsec)

    def mkdir(self, parents=False, exist_ok=False):
        """Does nothing: a folder is there as soon as a file is in it."""

    @_translated
    def iterdir(self):
        # Folders come with a slash at their end.
        return [self / name for name in sorted(gfile().listdir(str(self)))]

    def files(self):
        """All files in this folder and in those below it, in order of their addresses."""
        found = []
        for path in self.iterdir():
            found += path.files() if path.is_dir() else [path]
        return found

    def glob(self, pattern):
        """Files and folders right in this one whose names match."""
        if not self.is_dir():
            return []
        return [path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern)]

    def rglob(self, pattern):
        """Files in this folder and in those below it whose names match."""
        return [path for path in self.files() if fnmatch.fnmatchcase(path.name, pattern)]

    def open(self, mode="rb"):
        """Opens the file for reading; `rb` is the only mode."""
        with _system_errors(self):
            return io.BufferedReader(_Reader(self), _BUFFER)

    @_translated
    def read_bytes(self):
        with gfile().GFile(str(self), "rb") as file:
            return file.read()

    def read_text(self, encoding="utf-8"):
        return self.read_bytes().decode(encoding)

    @_translated
    def write_bytes(self, content):
        with gfile().GFile(str(self), "wb") as file:
            file.write(content)

    def write_text(self, text, encoding="utf-8"):
        self.write_bytes(text.encode(encoding))

    @_translated
    def unlink(self, missing_ok=False):
        if not missing_ok or gfile().exists(str(self)):
            gfile().remove(str(self))

    @_translated
    def rmtree(self):
        """Removes a folder with all that is in it."""
        gfile().rmtree(str(self))

    @_translated
    def rename(self, target):
        """Gives a file another address; its content is not copied through this machine."""
        gfile().rename(str(self), str(target), overwrite=True)

    @_translated
    def copy_from(self, source):
        """Writes the file as a copy of another one, a local one or one on gs://."""
        gfile().copy(str(source), str(self), overwrite=True)

    @_translated
    def copy_to(self, target):
        """Copies the file to a local path."""
        gfile().copy(str(self), str(target), overwrite=True)


class _Reader(io.RawIOBase):
    """A file on gs:// for `io.BufferedReader`, which gives it `readline` and `seek`."""

    def __init__(self, path):
        self._path = path
        self._file = gfile().GFile(str(path), "rb")
        self._size = self._file.size()  # opens it, so that a missing file is found here

    def readable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, buffer):
        with _system_errors(self._path):
            piece = self._file.read(min(len(buffer), self._size - self._file.tell()))
        buffer[: len(piece)] = piece
        return len(piece)

    def seek(self, offset, whence=os.SEEK_SET):
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        with _system_errors(self._path):
            self._file.seek(start + offset)
        return start + offset

    def tell(self):
        with _system_errors(self._path):
            return self._file.tell()

    def close(self):
        self._file.close()
        super().close()


def find_files(pattern):
    """The files on gs:// that a glob matches: `*` within a name, `**` over folders.

    Args:
        pattern: An address with wildcards.

    Returns:
        List of `RemotePath`, in order.
    """
    path = RemotePath(pattern)
    fixed = RemotePath(re.split(r"[*?\[]", str(path), maxsplit=1)[0].rpartition("/")[0])
    wanted = path.relative_to(fixed).split("/")
    if not fixed.is_dir():
        return []
    return [file for file in fixed.files() if _matches(file.relative_to(fixed).split("/"), wanted)]


def _matches(parts, wanted):
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_matches(parts[skipped:], wanted[1:]) for skipped in range(len(parts) + 1))
    return (
        bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
    )

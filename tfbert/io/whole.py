"""Files and folders that are whole or not there, on local disks and on gs://.

What is written has another name first and is renamed at the end. On gs://, where no folder can be
renamed, it is written to a local disk and copied: a file appears there whole, and a
folder is whole once the file that marks it so is in it, which is written last and removed first.

- `replacing`, for a file or folder that is written in one go;
- `unfinished_folder` and `publish`, for one that takes hours and goes on after a stop;
- `Replaced`, for a folder that shows its unfinished content while what it replaces is kept.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tfbert.errors import InputError, MachineError
from tfbert.io.paths import AnyPath, as_path, cache_folder, copy_file, files_below, is_remote
from tfbert.io.storage import write_file

FINISHED_FILE = "finished"  # in folders on gs:// that `replacing` wrote
_PUBLISHING_FILE = ".unfinished"  # in a folder while files are moved into it
_ALL_MOVED = "all-moved"  # in the folder of what was replaced: nothing of it is elsewhere


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """A temporary local path; what is there at the end is moved to `path` if all went well.

    Whatever stands at `path`, file or folder, stays until then; after an error the temporary is
    removed.
    """
    path = as_path(path)
    if is_remote(path):
        # Keras and HDF5 write to local disks only.
        with tempfile.TemporaryDirectory(prefix="tfbert-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            _upload(temporary, path)
        return
    # Keras chooses a weights file's form by its last two suffixes, so these stay.
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        remove(temporary)


def _upload(source: Path, target: Path) -> None:
    if source.is_file():
        copy_file(source, target)
        return
    remove(target)
    _copy_files(source, target)
    (target / FINISHED_FILE).write_bytes(b"")


def _copy_files(source: Path, target: Path) -> None:
    for file in files_below(source):
        copy = target / file.relative_to(source).as_posix()
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_file(file, copy)


def is_whole(folder: AnyPath) -> bool:
    """Whether a folder that `replacing` wrote is there, and all of it."""
    folder = as_path(folder)
    return (folder / FINISHED_FILE).exists() if is_remote(folder) else folder.is_dir()


def unfinished_folder(path: AnyPath) -> Path:
    """Where a folder that takes long to write grows until `publish` moves it to `path`.

    It is its neighbour `path.unfinished`; for a folder on gs:// it lies in this user's cache. After
    a stop it is the same one again.
    """
    if is_remote(path):
        name = hashlib.sha256(os.fspath(path).encode()).hexdigest()[:16]
        return cache_folder() / f"{name}.unfinished"
    path = Path(path).resolve()  # a link's target may lie on another, larger disk
    return path.parent / f"{path.name}.unfinished"


def publish(source: Path, target: AnyPath, last: str, replaced: Iterable[str] = ()) -> None:
    """Moves the files of a finished local folder to their place.

    Where no folder is yet, the whole one is renamed. Into one that is there, and to gs://, the
    files are moved one by one. If that is cut short, `is_published_in_part` says so, and a second
    call moves the rest.

    Args:
        source: The folder, without folders in it.
        target: Where to. Other files that are there stay.
        last: Name of the file that marks the folder as whole: it is removed first and moved last.
        replaced: Names in `target` that are removed.
    """
    target = as_path(target)
    if not is_remote(target) and not target.exists():
        source.rename(target)
        return
    (target / _PUBLISHING_FILE).write_bytes(b"")
    for name in (last, *replaced):
        (target / name).unlink(missing_ok=True)
    for file in sorted(source.iterdir(), key=lambda file: (file.name == last, file.name)):
        if is_remote(target):
            copy_file(file, target / file.name)
        else:
            shutil.move(file, target / file.name)
    (target / _PUBLISHING_FILE).unlink()


def is_published_in_part(folder: AnyPath) -> bool:
    """Whether `publish` was cut short in this folder."""
    return (as_path(folder) / _PUBLISHING_FILE).exists()


class Replaced:
    """The old content of a folder, kept in `.replaced` there until the new one is finished.

    It is moved part by part: the lock and the user's own files stay where they are, the folder may
    be a disk of its own, and on gs:// nothing else is possible. If the process is killed, at any
    moment, `settle` puts it right.

    Args:
        folder: The folder.
        parts: Names of the files and folders that are replaced together.
        last: The one that is written when all others are finished.
    """

    def __init__(self, folder: Path, parts: Iterable[str], last: str) -> None:
        self.folder = folder
        self.path = folder / ".replaced"
        self._parts, self._last = tuple(parts), last

    def set_aside(self) -> None:
        """Makes room for a new one."""
        self.settle()
        parts = [name for name in self._parts if (self.folder / name).exists()]
        if parts:
            self.path.mkdir()
            for name in parts:
                move(self.folder / name, self.path / name)
            write_bytes(self.path / _ALL_MOVED, b"")

    def settle(self) -> None:
        """Ends what a process that was killed began: the old content is left, or the new one."""
        if (self.path / _ALL_MOVED).exists() and (self.folder / self._last).exists():
            self.drop()  # the one that replaced it was finished
        elif self.path.exists():
            self.bring_back()  # the older one is the whole one

    def bring_back(self) -> None:
        """Puts the old content, where there is one, in the place of the new one."""
        if not self.path.exists():
            return
        if (self.path / _ALL_MOVED).exists():
            for name in self._parts:
                remove(self.folder / name)
            # From here on, the parts in the folder are the old ones.
            remove(self.path / _ALL_MOVED)
        for part in self.path.iterdir():
            move(part, self.folder / part.name)
        remove(self.path)

    def drop(self) -> None:
        """Removes the old content."""
        for name in self._parts:
            remove(self.path / name)
        remove(self.path)  # with the mark, which has to go last


def move(source: Path, target: Path) -> None:
    """Renames a file or a folder, on gs:// a folder file by file.

    If the move of a folder is cut short there, some files are at one place and some at the other; a
    second call moves the rest.
    """
    if not is_remote(source) or not source.is_dir():
        source.replace(target)
        return
    for file in sorted(files_below(source), key=lambda file: file.name == FINISHED_FILE):
        file.replace(target / file.relative_to(source).as_posix())


def remove(path: AnyPath) -> None:
    """Removes a file, a link or a folder with all that is in it; nothing there is not an error."""
    path = as_path(path)
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    elif is_remote(path):
        (path / FINISHED_FILE).unlink(missing_ok=True)
        path.rmtree()  # type: ignore[attr-defined] # of `StorePath`
    else:
        shutil.rmtree(path)


def local_folder(folder: Path) -> Path:
    """A local folder with the same files: itself, or a copy that lives as long as the process."""
    if not is_remote(folder):
        return folder
    listing = tuple((str(file), *vars(file.stat()).values()) for file in files_below(folder))
    return _download(folder, listing)


@functools.lru_cache(maxsize=1)
def _download(folder: Path, listing: tuple) -> Path:
    """Fetched once for all readers, as long as the `listing` stays the same."""
    copy = Path(tempfile.mkdtemp(prefix="tfbert-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    _copy_files(folder, copy)
    return copy


def write_bytes(path: AnyPath, content: bytes) -> None:
    """Writes a file; a reader finds the old content or the new one, never a part."""
    path = as_path(path)
    if is_remote(path):
        path.write_bytes(content)
        return
    with replacing(path) as temporary:
        write_file(temporary, [content])


def write_json(path: AnyPath, content: Any) -> None:
    """Writes an object as JSON; the same object becomes the same bytes."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: AnyPath) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: If it is not JSON.
    """
    try:
        return json.loads(as_path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged, not JSON ({error})") from error


@contextlib.contextmanager
def saving(path: AnyPath, size: int = 0, through_disk: bool = True) -> Iterator[None]:
    """Turns a failure to write into one line.

    Args:
        path: What is to be written, in an existing folder or one to be made.
        size: Bytes that it takes. Where they are given, a full disk is found before HDF5 writes,
            which would print tracebacks of its own.
        through_disk: Whether what goes to gs:// is written to a local disk first.

    Raises:
        MachineError: If there is no room, or the system refuses.
    """
    if size and (through_disk or not is_remote(path)):
        folder = tempfile.gettempdir() if is_remote(path) else Path(path).parent
        free = shutil.disk_usage(folder).free
        if free < size:
            raise MachineError(
                f"cannot write {path}: it takes {size / 1e6:.1f} MB and the disk has "
                f"{free / 1e6:.1f} MB left; what was written before is still there"
            )
    try:
        yield
    # HDF5 reports a full disk as a RuntimeError, TensorFlow as exhausted resources.
    except Exception as error:
        message = str(error)
        full = "No space left on device" in message
        if not full and not isinstance(error, OSError):
            raise
        # HDF5 hides the system's own words in a paragraph of its own.
        quoted = re.search(r"error message = '([^']*)'", message)
        reason = quoted[1] if quoted else getattr(error, "strerror", None) or message
        reason = "No space left on device" if full else reason
        raise MachineError(
            f"cannot write {path}: {reason}; what was written before is still there"
        ) from error

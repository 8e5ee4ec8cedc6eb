"""Paths on a disk and on gs:// through one interface, that of `pathlib.Path`.

Code that has a path from `as_path` need not ask where it lies. What a disk and an object store do
differently is decided in this folder and nowhere else. For local paths neither epath nor TensorFlow
is imported.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

from tfbert.errors import InputError

# A path, or its text. What `as_path` returns is called a `Path` throughout.
AnyPath: TypeAlias = "str | os.PathLike[str]"
_SCHEME = "gs://"


def is_remote(path: AnyPath) -> bool:
    """Whether a path is an address on gs://."""
    return os.fspath(path).startswith(_SCHEME)


def as_path(path: AnyPath) -> Path:
    """A `pathlib.Path`, or a `StorePath`, with the same methods, for an address on gs://."""
    return _store_path(path) if is_remote(path) else Path(path)


def _store_path(path: AnyPath) -> Any:
    try:
        from tfbert.io.object_store import StorePath
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: gs:// is read and written through TensorFlow, which is not installed: "
            "install it, or copy the files with `gcloud storage cp`"
        ) from error
    return StorePath(path)


def absolute(path: AnyPath) -> str:
    """The same path from any working directory, as text."""
    return str(path) if is_remote(path) else os.path.abspath(path)


def exists(path: AnyPath) -> bool:
    """Whether a file or a folder is there; False also for text that cannot name a file."""
    return as_path(path).exists() if is_remote(path) else os.path.exists(path)


def same_file(path: AnyPath, other: AnyPath) -> bool:
    """Whether two paths lead to one file that is there."""
    if is_remote(path) or is_remote(other):
        return as_path(path) == as_path(other)
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def cache_folder() -> Path:
    """This user's folder for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfbert"


def has_folder(path: AnyPath) -> bool:
    """Whether the folder that a file is to be written to is there; on gs:// it always is."""
    return is_remote(path) or Path(path).absolute().parent.is_dir()


def why_unwritable(folder: AnyPath) -> str | None:
    """Why no files can be written to a folder, or to one to be made; None where they can."""
    folder = existing = as_path(folder)
    if is_remote(folder):
        return "is a file" if folder.is_file() else None
    while not exists(existing):
        existing = existing.parent
    if not existing.is_dir():
        return f"{existing} is a file"
    if len(folder.name) > 255 or not os.access(existing, os.W_OK | os.X_OK):
        return "cannot be written by this user"
    return _why_no_file(existing)


def _why_no_file(folder: Path) -> str | None:
    """Why a file cannot be made in a folder that is there: only trying tells, for /proc or a full
    disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"cannot be written: {error.strerror}"


def files_below(folder: AnyPath) -> list[Path]:
    """All regular files in a folder and in those below it, sorted."""
    folder = as_path(folder)
    files: list[Path] = sorted(folder.rglob("*"))
    # An object store lists nothing but files, and would have to be asked about each one.
    return files if is_remote(folder) else [file for file in files if file.is_file()]


def find_files(pattern: str) -> list[str]:
    """The files that a glob matches, sorted: `*` within a name, `**` over folders."""
    if not is_remote(pattern):
        return sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))
    folder = as_path(re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0])
    wanted = as_path(pattern).relative_to(folder).parts
    if not folder.is_dir():
        return []
    return [
        str(file)
        for file in files_below(folder)
        if _matches(file.relative_to(folder).parts, wanted)
    ]


def _matches(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_matches(parts[skipped:], wanted[1:]) for skipped in range(len(parts) + 1))
    return (
        bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])
    )


def copy_file(source: AnyPath, target: AnyPath) -> None:
    """Copies a file, from or to a disk or gs://; inside gs:// the disk is not used."""
    if is_remote(source) or is_remote(target):
        _store_path(source).copy(target, overwrite=True)
    else:
        shutil.copyfile(source, target)

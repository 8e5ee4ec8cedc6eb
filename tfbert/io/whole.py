"""Files and folders that are whole or not there, on local disks and on gs://.

A local one is written under another name and renamed. On gs://, where no folder can be renamed, it
is written to a local disk and copied: a file appears there whole, and a folder is whole once the
file `FINISHED_FILE` is in it, which is written last and removed first.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from tfbert.errors import InputError, MachineError
from tfbert.io.paths import as_path, is_remote

FINISHED_FILE = "finished"  # in folders on gs://


@contextlib.contextmanager
def replacing(path):
    """Gives a temporary local path, and moves what is there to `path` if all went well.

    Whatever stands at `path`, file or folder, stays until then; after an error the temporary is
    removed.
    """
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


def _upload(source, target):
    if source.is_file():
        target.copy_from(source)
        return
    remove(target)
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        (target / file.relative_to(source).as_posix()).copy_from(file)
    (target / FINISHED_FILE).write_bytes(b"")


def absolute(path):
    """The same path from any working directory, as text."""
    return str(path) if is_remote(path) else os.path.abspath(path)


def exists(path):
    """Whether a file or a folder is there; False also for what no file can be named."""
    return path.exists() if is_remote(path) else os.path.exists(path)


def is_whole(folder):
    """Whether a folder that `replacing` wrote is there, and all of it."""
    folder = as_path(folder)
    return (folder / FINISHED_FILE).exists() if is_remote(folder) else folder.is_dir()


@contextlib.contextmanager
def local_copy(path):
    """Gives a local path to read: `path` itself, or a copy of the file or folder on gs://."""
    path = as_path(path)
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tfbert-") as folder:
        copy = Path(folder) / path.name
        download(path, copy)
        yield copy


def download(source, target):
    """Copies a file or a folder on gs:// to a local path."""
    if not source.is_dir():
        source.copy_to(target)
        return
    for file in source.files():
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        file.copy_to(copy)


def remove(path):
    """Removes a file, a link or a folder with all that is in it; nothing there is no error."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    elif is_remote(path):
        (path / FINISHED_FILE).unlink(missing_ok=True)
        path.rmtree()
    else:
        shutil.rmtree(path)


def copy_file(source, target):
    """Copies a file; on a local disk it may be one file with two names, until one is replaced."""
    if is_remote(target):
        target.copy_from(source)
        return
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def move(source, target):
    """Gives a file or a folder another name, on gs:// a folder file by file.

    A move of a folder that is cut short there leaves some files at one place and some at the other;
    done again, it goes on.
    """
    if not is_remote(source) or not source.is_dir():
        source.rename(target)
        return
    for file in sorted(source.files(), key=lambda file: file.name == FINISHED_FILE):
        file.rename(target / file.relative_to(source))


def write_bytes(path, content):
    """Writes a file; a reader finds the old content or the new one, never a part."""
    path = as_path(path)
    if is_remote(path):
        path.write_bytes(content)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path, content):
    """Writes an object as JSON; the same object gives the same bytes."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path):
    """Reads a JSON file.

    Raises:
        InputError: If it is no JSON.
    """
    try:
        return json.loads(as_path(path).read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: damaged, not JSON ({error})") from error


@contextlib.contextmanager
def saving(path, size=0):
    """Turns a failure to write into one line.

    Args:
        path: What is to be written, in an existing folder or one to be made.
        size: Bytes that it takes. Known beforehand, a full disk is found before HDF5 meets it,
            which prints tracebacks of its own.

    Raises:
        MachineError: If there is no room, or the system refuses.
    """
    if size:
        # What goes to gs:// is written to a local disk first.
        folder = tempfile.gettempdir() if is_remote(path) else path.parent
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

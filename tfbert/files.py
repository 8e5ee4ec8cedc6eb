"""Files and folders that are whole or not there: written under another name and renamed."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from tfbert.errors import InputError


@contextlib.contextmanager
def replacing(path):
    """Gives a temporary path beside `path`, and renames it to `path` if all went well.

    Whatever stands at `path`, file or folder, stays until then; after an error the temporary is
    removed.
    """
    # Keras chooses a weights file's form by its last two suffixes, so these stay.
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        remove(temporary)


def remove(path):
    """Removes a file, a link or a folder with all that is in it; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path, content):
    """Writes a file; a reader finds the old content or the new one, never a part."""
    with replacing(Path(path)) as temporary:
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
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: damaged, not JSON ({error})") from error

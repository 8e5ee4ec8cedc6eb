"""Files that are whole or not there: written under another name and renamed."""

import json
import os
from pathlib import Path

from tfbert.errors import InputError


def write_bytes(path, content):
    """Writes a file; a reader finds the old content or the new one, never a part."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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

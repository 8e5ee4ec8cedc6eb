"""JSON tables: an object a line, or one array of objects."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines, read_text
from tfbert.tasks.formats.rows import Row, Table, find_columns, json_value


def open_json(path: str | Path, first: str, wanted: Sequence[str], encoding: str) -> Table:
    """Opens a JSON table, and looks for its keys.

    Args:
        path: The file.
        first: Its first line that is not empty, or "" where there is none.
        wanted: Keys that the first object must have; the others may spell them in another case.
        encoding: The file's text encoding, where no byte order mark says it.

    Raises:
        InputError: If it is not JSON, holds no objects, or lacks a key; its rows raise it where
            they are broken.
    """
    begins = first.lstrip()[:1]
    if begins and begins not in "[{":
        raise InputError(
            f"{path}, line 1: not JSON; a table with a header is read with --task csv or tsv"
        )
    value = json_value(first)
    is_array = begins == "[" and (value is None or (isinstance(value, list) and _objects(value)))
    rows = _json_array(path, encoding) if is_array else _json_lines(path, encoding)
    head = next(rows, None)
    if head is None:
        raise InputError(f"{path}: holds no examples")
    columns = find_columns(list(head.cells), wanted, f"{path}, {head.place}", "key")
    return Table(columns, _with_keys(path, chain([head], rows), columns))


def _with_keys(path: str | Path, rows: Iterable[Row], columns: Sequence[str]) -> Iterator[Row]:
    """The rows, the keys that are asked for spelled in each as in the first."""
    for row in rows:
        if not row.cells.keys() >= set(columns):
            found = find_columns(list(row.cells), columns, f"{path}, {row.place}", "key")
            names = dict(zip(found, columns, strict=True))
            row = row._replace(cells={names.get(key, key): row.cells[key] for key in row.cells})
        yield row


def _objects(values: Iterable[Any]) -> bool:
    return all(isinstance(value, dict) for value in values)


def _json_lines(path: str | Path, encoding: str) -> Iterator[Row]:
    for number, line in read_lines(path, encoding):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            row = json.loads(line.rstrip())
        # Wrong syntax, but also numbers of thousands of digits and brackets nested as deep.
        except (ValueError, RecursionError) as error:
            if number == 1 and isinstance(json_value(read_text(path, encoding)), dict):
                raise InputError(
                    f"{path}: is a single JSON object; write an array of objects, or one object a "
                    "line (pandas: to_json(orient='records', lines=True))"
                ) from error
            reason = str(error)
            if isinstance(error, json.JSONDecodeError):  # its own line number is always 1
                reason = f"{error.msg} (character {error.pos + 1}); a line holds one whole object"
            raise InputError(f"{path}, {place}: not JSON: {reason}") from error
        yield _checked(row, path, place)


def _json_array(path: str | Path, encoding: str) -> Iterator[Row]:
    try:
        rows = json.loads(read_text(path, encoding))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line 1: not JSON: {error}") from error
    for number, row in enumerate(rows, start=1):
        yield _checked(row, path, f"item {number}")


def _checked(row: Any, path: str | Path, place: str) -> Row:
    if not isinstance(row, dict):
        raise InputError(f"{path}, {place}: not a JSON object")
    return Row(place, row)

"""What tables of all forms have in common: rows with named cells, and how a column is found."""

import json
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfbert.errors import InputError


class MissingColumnError(InputError):
    """A table has no column of the name `column`."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class Row(NamedTuple):
    """A row of a table.

    Args:
        place: `line 7`, or in a JSON array `item 7`; of a text over several lines the last one.
        cells: By column, in the table's order; strings, or in JSON any values.
    """

    place: str
    cells: dict[str, Any]


class Table(NamedTuple):
    """An open table.

    Args:
        columns: The names, in the table, of the columns that were asked for.
        rows: All rows.
    """

    columns: list[str]
    rows: Iterator[Row]


def column_named(names: Iterable[str], wanted: str) -> str | None:
    """Which of some columns is meant by a name: that of this name, else the only one like it."""
    names = list(names)
    if wanted in names:
        return wanted
    alike = [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def find_columns(names: Sequence[str], wanted: Sequence[str], place: str, word: str) -> list[str]:
    """The columns that are meant by some names.

    Args:
        names: All columns.
        wanted: Those that are asked for.
        place: File, or file and line, for messages.
        word: `column` or `key`.

    Raises:
        MissingColumnError: If there is no such column.
    """
    found = []
    for name in wanted:
        column = column_named(names, name)
        if column is None:
            has = ", ".join(names) or "none"
            raise MissingColumnError(f"{place}: no {word} {name!r}; its {word}s are {has}", name)
        found.append(column)
    return found


def json_value(text: str) -> Any:
    """The value of a JSON text, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def text_of(value: Any, path: str | Path, place: str) -> str:
    """The text in a cell.

    Raises:
        InputError: If it is none.
    """
    if not isinstance(value, str):
        by_column = " (is it a table by column? pandas: to_json(orient='records', lines=True))"
        raise InputError(
            f"{path}, {place}: the text must be a string, not {reprlib.repr(value)}"
            + (by_column if isinstance(value, dict) else "")
        )
    check_characters(value, path, place)
    return value


def check_characters(text: str, path: str | Path, place: str) -> None:
    """Raises `InputError` of a JSON string that is not Unicode."""
    if text != text.encode("utf-8", "replace").decode("utf-8"):
        raise InputError(f"{path}, {place}: {text!r} holds half a surrogate pair")

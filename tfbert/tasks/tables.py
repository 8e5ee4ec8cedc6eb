"""Labelled texts from CSV, TSV and JSON tables."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines
from tfbert.tasks.formats.delimited import open_delimited
from tfbert.tasks.formats.json_rows import open_json
from tfbert.tasks.formats.rows import Table, check_characters, column_named, json_value, text_of

SUFFIXES = {  # of the files of a form
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
}


class Examples(NamedTuple):
    """Texts and their labels, as written in the data."""

    texts: list[str]
    labels: list[str]


def form_of(path: str | Path) -> str | None:
    """`csv`, `tsv` or `jsonl`, by the end of a file's name; None of a file that is no table."""
    name = str(path).lower().removesuffix(".gz")
    return next((form for form, ends in SUFFIXES.items() if name.endswith(ends)), None)


def open_table(
    path: str | Path,
    form: str,
    wanted: Sequence[str],
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Table:
    """Opens a table, and looks for its columns.

    Args:
        path: The file; `.gz` is unpacked.
        form: `csv` (quotes as spreadsheets write them), `tsv` (GLUE's form: one row a line, quotes
            are ordinary characters) or `jsonl` (one JSON object a line, or an array of objects).
        wanted: Columns, or keys, that it must have. Upper and lower case count only where the
            table has both.
        encoding: The file's text encoding, where no byte order mark says it.
        separator: Of the columns, `tab` or a character; None finds it.

    Raises:
        InputError: If the file is empty, is something else, or lacks a column; its rows raise it
            where they are broken.
    """
    first = next((line for _, line in read_lines(path, encoding) if line.strip()), None)
    if form == "jsonl":
        return open_json(path, first or "", wanted, encoding)
    if first is None:
        raise InputError(f"{path}: the file is empty")
    if first.strip() in ("[", "{") or isinstance(json_value(first), dict | list):
        raise InputError(
            f"{path}: holds JSON, not a {form} table: --task jsonl reads it, and `predict` if its "
            "name ends in .jsonl"
        )
    return open_delimited(path, form, wanted, encoding, separator)


def read_table(
    path: str | Path,
    form: str,
    text_column: str,
    label_column: str,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> Examples:
    """Reads the labelled texts of one file.

    Args:
        path, form, encoding, separator: As in `open_table`.
        text_column: Name of the column, or key, with the text.
        label_column: Name of the column, or key, with the label: a string, a number, true or false.

    Raises:
        InputError: If the file is empty, a column is missing, or a row is incomplete.
    """
    table = open_table(path, form, (text_column, label_column), encoding, separator)
    if len(set(table.columns)) == 1:
        raise InputError(
            f"{path}: text and label are both {table.columns[0]!r}: give two columns "
            "(--text-column, --label-column)"
        )
    examples = Examples([], [])
    for place, cells in table.rows:
        text, label = (cells[column] for column in table.columns)
        text, label = text_of(text, path, place), _label_of(label, path, place)
        if not label:
            if not text.strip():
                continue  # spreadsheets write empty rows
            raise InputError(f"{path}, {place}: the label is empty")
        examples.texts.append(text)
        examples.labels.append(label)
    if not examples.texts:
        raise InputError(f"{path}: holds no examples")
    return examples


def is_unlabelled(
    path: str | Path,
    form: str,
    text_column: str,
    label_column: str,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> bool:
    """Whether a table has texts without labels: no such column, or nothing in it but GLUE's -1.

    The arguments are those of `read_table`.
    """
    table = open_table(path, form, (text_column,), encoding, separator)
    is_empty = True
    for _, cells in table.rows:
        is_empty = False
        column = column_named(cells, label_column)
        label = None if column is None else cells[column]
        if label is not None and str(label).strip() not in ("", "-1"):
            return False
    return not is_empty


def _label_of(value: Any, path: str | Path, place: str) -> str:
    """A label as text; whole numbers without decimals, `true` and `false` as JSON writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if not isinstance(value, str) and not is_number:
        raise InputError(
            f"{path}, {place}: the label must be a string, a number, true or false, not {value!r}"
        )
    label = str(value).strip()
    check_characters(label, path, place)
    return label

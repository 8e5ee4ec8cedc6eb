"""Labelled texts from CSV, TSV and JSON tables."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.delimited import open_delimited
from tfbert.tasks.formats.json_rows import open_json
from tfbert.tasks.formats.rows import (
    MissingColumnError,
    Table,
    column_named,
    json_value,
    text_of,
)

SUFFIXES = {  # of the files of a form
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "conll": (".conll", ".conllu", ".bio", ".iob", ".iob2", ".txt"),
    "squad": (".json", ".jsonl"),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where things stand in a file.

    Args:
        form: `csv` (quotes as spreadsheets write them), `tsv` (GLUE's form: one row a line, quotes
            are ordinary characters), `jsonl` (one JSON object a line, or an array of objects),
            `conll` (a word a line) or `squad` (questions about passages).
        text_column: Name of the column, or key, with the text.
        label_column: That with the label.
        pair_column: That with the second text; None where there are no pairs.
        id_column: That with what the data calls the example; None where nobody asks.
        names: Names of the columns, where the file has no header. (A file that has one all the
            same, with the text's column in it, is read by that.)
        encoding: The file's text encoding, where no byte order mark says it.
        separator: Of the columns, `tab` or a character; None finds it.
        label_separator: Between several labels in a cell.
        drops_broken: Whether rows with another number of columns are left out, with a log line.
    """

    form: str = "csv"
    text_column: str = "text"
    label_column: str = "label"
    pair_column: str | None = None
    id_column: str | None = None
    names: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    separator: str | None = None
    label_separator: str | None = None
    drops_broken: bool = False


def form_of(path: str | Path) -> str | None:
    """A key of `SUFFIXES`, by the end of a file's name; None of a file that is none of these.

    A `.txt` is in CoNLL's form in a folder of such data only; elsewhere it has a text a line.
    """
    name = str(path).lower().removesuffix(".gz")
    found = (form for form, ends in SUFFIXES.items() if name.endswith(ends))
    return None if name.endswith(".txt") else next(found, None)


def open_table(path: str | Path, layout: Layout, wanted: Sequence[str]) -> Table:
    """Opens a table, and looks for its columns.

    Args:
        path: The file; `.gz` is unpacked.
        wanted: Columns, or keys, that it must have. Upper and lower case count only where the
            table has both.

    Raises:
        InputError: If the file is empty, is something else, or lacks a column; its rows raise it
            where they are broken.
    """
    try:
        return _open(path, layout, wanted)
    except MissingColumnError as error:
        raise InputError(f"{error}{_advice(error.column, layout, wanted)}") from error


def _open(path: str | Path, layout: Layout, wanted: Sequence[str]) -> Table:
    form, encoding = layout.form, layout.encoding
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
    return open_delimited(
        *(path, form, wanted, encoding, layout.separator, layout.names or (), layout.drops_broken)
    )


def _advice(missing: str, layout: Layout, wanted: Sequence[str]) -> str:
    """What to do about a missing column, in brackets; empty where no option names it."""
    labels = [layout.label_column, *map(str.strip, layout.label_column.split(","))]  # or several
    options: dict[str | None, str] = {
        **dict.fromkeys(labels, "--label-column"),
        layout.pair_column: "--text-pair-column",
        layout.text_column: "--text-column",
    }
    if missing not in options:
        return ""
    but = ", except for public sets" if len(wanted) > 1 else ""
    header = "" if layout.form == "jsonl" else "; a file whose first line is not a header needs one"
    return f" ({options[missing]} chooses another{but}{header})"


def read_table(
    path: str | Path,
    layout: Layout,
    label_of: Callable[[Any, str | Path, str], Any],
    labelled: bool = True,
    label_columns: Sequence[str] | None = None,
) -> Examples:
    """Reads the texts of one file with their labels.

    Args:
        label_of: From a cell, the file and the line to the label, or None of an empty cell.
        labelled: Whether labels are read; without them, the result's are None.
        label_columns: Columns that say the label together: `label_of` gets a dict of their cells.
            None takes the one of the layout.

    Raises:
        InputError: If the file is empty, a column is missing, or a row is incomplete.
    """
    texts = [layout.text_column, *filter(None, [layout.pair_column])]
    ids = [*filter(None, [layout.id_column])]
    others = [*texts, *ids]
    wanted = [*others, *((label_columns or [layout.label_column]) if labelled else [])]
    table = open_table(path, layout, wanted)
    _check_distinct(path, table.columns)
    columns: list[list[Any]] = [[] for _ in [*others, "label"]]
    for place, cells in table.rows:
        row = [cells[column] for column in table.columns]
        row[: len(texts)] = [text_of(text, path, place) for text in row[: len(texts)]]
        empty = [name for name, text in zip(texts, row, strict=False) if not text.strip()]
        # In a published file with broken rows, empty texts are no surprise.
        if len(empty) < len(texts) and empty and not layout.drops_broken:
            raise InputError(f"{path}, {place}: one text of the pair is empty ({empty[0]})")
        if labelled:
            of_label = row[len(others) :]
            cell = dict(zip(label_columns, of_label, strict=True)) if label_columns else of_label[0]
            row[len(others) :] = [label_of(cell, path, place)]
            if row[-1] in (None, []) and not any(text.strip() for text in row[: len(texts)]):
                continue  # spreadsheets write empty rows
            if row[-1] is None:
                raise InputError(f"{path}, {place}: the label is empty")
        for column, value in zip(columns, row, strict=labelled):
            column.append(value)
    if not columns[0]:
        raise InputError(f"{path}: holds no examples")
    found = dict(zip(others, columns, strict=False))
    return Examples(
        found[layout.text_column],
        columns[-1] if labelled else None,
        found[layout.pair_column] if layout.pair_column else None,
        found[layout.id_column] if layout.id_column else None,
    )


def is_unlabelled(path: str | Path, layout: Layout) -> bool:
    """Whether a table has texts without labels: no such column, or nothing in it but GLUE's -1."""
    table = open_table(path, layout, (layout.text_column,))
    is_empty = True
    for _, cells in table.rows:
        is_empty = False
        column = column_named(cells, layout.label_column)
        label = None if column is None else cells[column]
        if label is not None and str(label).strip() not in ("", "-1"):
            return False
    return not is_empty


def _check_distinct(path: str | Path, columns: Sequence[str]) -> None:
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(
            f"{path}: text and label are both {twice!r}: give two columns "
            "(--text-column, --label-column)"
            if len(columns) == 2
            else f"{path}: two of texts and label are both {twice!r}: give a column each "
            "(--text-column, --text-pair-column, --label-column)"
        )

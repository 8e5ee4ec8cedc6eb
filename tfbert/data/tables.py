"""Labelled texts from CSV, TSV and JSON-lines files."""

import csv
import json
from typing import NamedTuple

from tfbert.data.reading import read_lines
from tfbert.errors import InputError

FORMS = ("csv", "tsv", "jsonl")


class Examples(NamedTuple):
    """Texts and their labels, as written in the data."""

    texts: list[str]
    labels: list[str]


def read_table(path, form, text_column, label_column, encoding="utf-8"):
    """Reads the labelled texts of one file.

    Args:
        path: The file; `.gz` is unpacked.
        form: `csv` (quotes as spreadsheets write them), `tsv` (GLUE's form: one row a line, quotes
            are ordinary characters) or `jsonl` (one JSON object a line).
        text_column: Name of the column, or key, with the text.
        label_column: Name of the column, or key, with the label, a string or an integer.
        encoding: The file's text encoding.

    Returns:
        `Examples`, in the file's order.

    Raises:
        InputError: If the file is empty, a column is missing, or a row is not complete.
    """
    rows = _json_rows if form == "jsonl" else _delimited_rows
    examples = Examples([], [])
    for number, text, label in rows(path, form, text_column, label_column, encoding):
        if not label:
            raise InputError(f"{path}, line {number}: the label is empty")
        examples.texts.append(text)
        examples.labels.append(label)
    if not examples.texts:
        raise InputError(f"{path}: holds no examples")
    return examples


def _delimited_rows(path, form, text_column, label_column, encoding):
    dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if form == "tsv" else {"strict": True}
    reader = csv.reader((line for _, line in read_lines(path, encoding)), **dialect)
    try:
        header = next(reader, None)
        if header is None:
            raise InputError(f"{path}: the file is empty")
        positions = [_position(path, header, name) for name in (text_column, label_column)]
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, the header has "
                    f"{len(header)}; a text that holds the separator must be quoted (csv) "
                    "or written with a space instead (tsv)"
                )
            text, label = (row[position] for position in positions)
            yield reader.line_num, text, label.strip()
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not a {form} row: {error}") from error


def _position(path, header, name):
    if name not in header:
        columns = ", ".join(header)
        raise InputError(
            f"{path}: no column {name!r}; its columns are {columns}: "
            "choose with --text-column and --label-column"
        )
    return header.index(name)


def _json_rows(path, form, text_column, label_column, encoding):
    for number, line in read_lines(path, encoding):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not a JSON object")
        for name in (text_column, label_column):
            if name not in row:
                keys = ", ".join(row) or "none"
                raise InputError(
                    f"{path}, line {number}: no key {name!r}; its keys are {keys}: "
                    "choose with --text-column and --label-column"
                )
        text, label = row[text_column], row[label_column]
        if not isinstance(text, str):
            raise InputError(f"{path}, line {number}: the text must be a string, not {text!r}")
        if text != text.encode("utf-8", "replace").decode("utf-8"):
            raise InputError(f"{path}, line {number}: the text holds half a surrogate pair")
        if not isinstance(label, str | int):
            raise InputError(
                f"{path}, line {number}: the label must be a string or an integer, not {label!r}"
            )
        yield number, text, str(label).strip()

"""Labelled texts from CSV, TSV and JSON-lines files."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines

_CHOICE = " (--text-column and --label-column choose others for --task csv, tsv and jsonl)"


class Examples(NamedTuple):
    """Texts and their labels, as written in the data."""

    texts: list[str]
    labels: list[str]


def read_table(
    path: str | Path, form: str, text_column: str, label_column: str, encoding: str = "utf-8"
) -> Examples:
    """Reads the labelled texts of one file.

    Args:
        path: The file; `.gz` is unpacked.
        form: `csv` (quotes as spreadsheets write them), `tsv` (GLUE's form: one row a line, quotes
            are ordinary characters) or `jsonl` (one JSON object a line).
        text_column: Name of the column, or key, with the text.
        label_column: Name of the column, or key, with the label, a string or an integer.
        encoding: The file's text encoding.

    Raises:
        InputError: If the file is empty, a column is missing, or a row is incomplete.
    """
    columns = (text_column, label_column)
    if form == "jsonl":
        rows = _json_rows(path, columns, encoding)
    else:
        rows = _delimited_rows(path, form, columns, encoding)
    examples = Examples([], [])
    for number, text, label in rows:
        if not label:
            raise InputError(f"{path}, line {number}: the label is empty")
        examples.texts.append(text)
        examples.labels.append(label)
    if not examples.texts:
        raise InputError(f"{path}: holds no examples")
    return examples


def _delimited_rows(
    path: str | Path, form: str, columns: tuple[str, str], encoding: str
) -> Iterator[tuple[int, str, str]]:
    csv.field_size_limit(sys.maxsize)  # a text of any length; the tokenizer cuts it
    lines = (line for _, line in read_lines(path, encoding))
    if form == "tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, strict=True)
    try:
        header = next(filter(None, reader), None)
        if header is None:
            raise InputError(f"{path}: the file is empty")
        positions = [_position(path, header, name) for name in columns]
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


def _position(path: str | Path, header: list[str], name: str) -> int:
    if name not in header:
        columns = ", ".join(header)
        raise InputError(f"{path}: no column {name!r}; its columns are {columns}{_CHOICE}")
    if header.count(name) > 1:
        raise InputError(f"{path}: {header.count(name)} columns are named {name!r}")
    return header.index(name)


def _json_rows(
    path: str | Path, columns: tuple[str, str], encoding: str
) -> Iterator[tuple[int, str, str]]:
    for number, line in read_lines(path, encoding):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        # Wrong syntax, but also numbers of thousands of digits and brackets nested as deep.
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not a JSON object")
        for name in columns:
            if name not in row:
                keys = ", ".join(row) or "none"
                raise InputError(
                    f"{path}, line {number}: no key {name!r}; its keys are {keys}{_CHOICE}"
                )
        text, label = (row[name] for name in columns)
        if not isinstance(text, str):
            raise InputError(f"{path}, line {number}: the text must be a string, not {text!r}")
        if not isinstance(label, str | int) or isinstance(label, bool):
            raise InputError(
                f"{path}, line {number}: the label must be a string or an integer, not {label!r}"
            )
        for part in (text, str(label)):
            if part != part.encode("utf-8", "replace").decode("utf-8"):
                raise InputError(f"{path}, line {number}: {part!r} holds half a surrogate pair")
        yield number, text, str(label).strip()

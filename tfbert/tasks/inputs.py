"""What `predict` reads: texts without labels, from lines or from the rows of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.rows import text_of
from tfbert.tasks.formats.tables import Layout, form_of, open_table


class Input(NamedTuple):
    """What is answered at a time.

    Args:
        example: A single example without a label.
        row: The row of the table that it is from, to be given back; None where there is no table.
    """

    example: Examples
    row: dict[str, Any] | None = None


def read_inputs(path: str, layout: Layout, has_pairs: bool = False) -> Iterator[Input]:
    """The texts of a table's column, or the lines of any other file.

    Args:
        path: A file, or `-` for standard input.
        layout: Columns and encoding; the form is that of the file's name.
        has_pairs: Whether two texts are read; on a line, a tab separates them.

    Raises:
        InputError: If the file cannot be read, or a row lacks a text.
    """
    form = None if path == "-" else form_of(path)
    if form in (None, "conll"):
        for number, line in read_lines(path, layout.encoding):
            text = line.rstrip("\r\n")
            text, *pairs = text.split("\t", 1) if has_pairs else [text]
            if has_pairs and not pairs:
                name = "standard input" if path == "-" else path
                raise InputError(
                    f"{name}, line {number}: one text where the model reads two: write the second "
                    "(of a question the passage) behind a tab, or give a table (.csv, .tsv, .jsonl)"
                )
            yield Input(Examples([text], None, pairs or None))
        return
    wanted = [layout.text_column]
    if has_pairs:
        wanted.append(layout.pair_column or "text_pair")
    table = open_table(path, dataclasses.replace(layout, form=form), wanted)
    for place, row in table.rows:
        text, *pairs = (text_of(row[column], path, place) for column in table.columns)
        yield Input(Examples([text], None, pairs or None), row)

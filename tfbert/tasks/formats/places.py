"""Where a label stands in a file: for messages about labels that were noticed after reading."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tfbert.io.text_files import read_lines
from tfbert.tasks.formats.rows import column_named
from tfbert.tasks.formats.tables import Layout, open_table


def place_of_label(path: str | Path, layout: Layout, spellings: Collection[str]) -> str | None:
    """The first row of a file with a label, as `file, line 7`.

    Args:
        path: A file that was read before.
        layout: Where its labels are: alone in a cell, among others, or a column of tags.
        spellings: How the label may be written there.

    Returns:
        None where it is not found.
    """
    if layout.form == "conll":
        for number, line in read_lines(path, layout.encoding):
            if line.split() and line.split()[-1] in spellings:
                return f"{path}, line {number}"
        return None
    if layout.form not in ("csv", "tsv", "jsonl"):
        return None
    for place, cells in open_table(path, layout, (layout.text_column,)).rows:
        column = column_named(cells, layout.label_column)
        if column is not None and _parts(cells[column], layout) & set(spellings):
            return f"{path}, {place}"
    return None


def _parts(value: Any, layout: Layout) -> set[str]:
    """All that may be meant as a label by what is in a cell."""
    if isinstance(value, list):
        return {str(part).strip() for part in value}
    text = str(value).strip()
    separator = layout.label_separator or ","
    return {text, text.lower(), *(part.strip() for part in text.split(separator))}

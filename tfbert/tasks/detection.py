"""What a file asks of its texts, where nobody says it: its form and its labels tell.

Only what can be meant in one way is taken from the data. Cells with several labels and columns of
many different numbers are asked about (`labels.check_labels`), as they may be classes.
"""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines, read_text
from tfbert.tasks.formats.rows import column_named, json_value
from tfbert.tasks.formats.tables import Layout, open_table
from tfbert.tasks.tags.entities import is_tagging_of_entities

_log = logging.getLogger("tfbert")

_LOOKED_AT = 1_000  # rows, or lines, at a file's begin


class Detected(NamedTuple):
    """What a file holds.

    Args:
        problem: A name in `known_problems.PROBLEMS`.
        form: As in `Layout`: a file of words or of questions may come under another's name.
    """

    problem: str
    form: str


def detect(path: str | Path, layout: Layout, says_so: bool = True) -> Detected:
    """The problem that a file poses, with a log line where it is not classification.

    Lists of labels in JSON are several labels a text (`multilabel`) or, beside a list of words,
    tags (`tagging`), as are CoNLL's columns; SQuAD's form asks for answers in passages (`span`).
    So do options that nothing else has: a label separator, and several label columns.

    Args:
        says_so: Whether there is that line: not where the problem is known already.

    Raises:
        InputError: If the file cannot be read.
    """
    found, reason = _detect(path, layout)
    if says_so and found.problem != "classification":
        _log.info("%s: %s, so --problem %s", path, reason, found.problem)
    return found


def _detect(path: str | Path, layout: Layout) -> tuple[Detected, str]:
    form = layout.form
    if form == "conll" or (form in ("csv", "tsv") and _is_conll(path, layout)):
        return Detected("tagging", "conll"), "has a label for each word"
    if form == "squad" or (form == "jsonl" and _is_squad(path, layout)):
        return Detected("span", "squad"), "is in SQuAD's form"
    if layout.label_separator is not None:
        return Detected("multilabel", form), "--label-separator is given"
    if "," in layout.label_column and not _has_column(path, layout):
        return Detected("multilabel", form), "--label-column names several"
    if form == "jsonl":
        text, label = _first_list(path, layout)
        if isinstance(label, list):
            if isinstance(text, list):
                return Detected("tagging", form), "has lists of words and of labels"
            return Detected("multilabel", form), "has lists of labels"
    return Detected("classification", form), ""


def _first_list(path: str | Path, layout: Layout) -> tuple[Any, Any]:
    """Text and label of the first row whose label is a list; (None, None) if there is none."""
    columns = open_table(path, layout, (layout.text_column,)).columns
    for _, cells in islice(open_table(path, layout, columns).rows, _LOOKED_AT):
        label = column_named(cells, layout.label_column)
        if label is not None and isinstance(cells[label], list):
            return cells[columns[0]], cells[label]
    return None, None


def _has_column(path: str | Path, layout: Layout) -> bool:
    """Whether a column has the label column's name, comma and all."""
    try:
        open_table(path, layout, (layout.text_column, layout.label_column))
    except InputError:
        return False
    return True


def _is_squad(path: str | Path, layout: Layout) -> bool:
    first = next((line for _, line in read_lines(path, layout.encoding) if line.strip()), "")
    value = json_value(first)
    if value is None and first.strip() == "{":
        value = json_value(read_text(path, layout.encoding))
    if not isinstance(value, dict):
        return False
    if layout.text_column not in value and {"question", "context"} <= value.keys():
        return True  # a question a line
    articles = value.get("data")
    return isinstance(articles, list) and all(
        isinstance(article, dict) and "paragraphs" in article for article in articles
    )


def _is_conll(path: str | Path, layout: Layout) -> bool:
    """Whether a file has no header, but columns whose last one holds tags of entities."""
    if layout.names:
        return False
    numbered = islice(read_lines(path, layout.encoding), _LOOKED_AT)
    lines = [line.rstrip("\r\n") for _, line in numbered]
    separator = "\t" if any("\t" in line for line in lines) else None
    rows = [line.split(separator) for line in lines if line.strip()]
    rows = [cells for cells in rows if not cells[0].startswith(("-DOCSTART-", "#"))]
    is_divided = any(not line.strip() for line in lines)  # into sentences
    return (
        is_divided
        and bool(rows)
        and len(rows[0]) > 1
        and all(len(cells) == len(rows[0]) for cells in rows)
        and is_tagging_of_entities([cells[-1].strip() for cells in rows])
    )

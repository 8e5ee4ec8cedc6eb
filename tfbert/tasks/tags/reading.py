"""Tagged words from CoNLL files and from lists in JSON; what is to be tagged from any file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.rows import check_characters, text_of
from tfbert.tasks.formats.tables import Layout, form_of, is_unlabelled, open_table
from tfbert.tasks.inputs import Input, read_inputs
from tfbert.tasks.tags.conll import conll_sentences, read_conll

_COLUMN = re.compile("-?[0-9]{1,3}")


def read_tagged(path: str | Path, layout: Layout, labelled: bool = True) -> Examples:
    """The words of each sentence, and their tags.

    Args:
        layout: Of the form `conll`, where the columns of text and label are numbers (names mean
            the first and the last), or `jsonl`, where they are keys of lists.
        labelled: Whether tags are read; without them, the result's labels are None.

    Raises:
        InputError: If it is of another form, or something in it is wrong: with the line.
    """
    if layout.pair_column is not None:
        raise InputError(
            f"--text-pair-column {layout.pair_column}: labels of words are asked of single texts"
        )
    if layout.form == "conll":
        sentences = read_conll(path, *_columns(layout), layout.encoding)
        labels = [sentence.labels for sentence in sentences] if labelled else None
        if labels and labels[0] is None:
            raise InputError(f"{path}: one column; a word and its tag must stand on each line")
        return Examples([sentence.words for sentence in sentences], labels)
    if layout.form != "jsonl":
        raise InputError(
            f"{path}: tags are read from CoNLL files, a word and its tag a line, and from JSON, a "
            "list of words and a list of tags a sentence"
        )
    return _read_lists(path, layout, labelled)


def has_no_tags(path: str | Path, layout: Layout) -> bool:
    """Whether a file holds words and no tags."""
    if layout.form != "conll":
        return is_unlabelled(path, layout)
    first = next(conll_sentences(path, *_columns(layout), layout.encoding), None)
    return first is not None and first.labels is None


def tagging_inputs(path: str, layout: Layout) -> Iterator[Input]:
    """What `predict` is to tag.

    Of a file in CoNLL's form sentences; of a table the texts of a column, in JSON also lists of
    words; of any other file its lines.

    Raises:
        InputError: If it cannot be read.
    """
    form = None if path == "-" else form_of(path)
    if form == "conll":
        for words, tags in conll_sentences(path, *_columns(layout, False), layout.encoding):
            row = {"words": words} if tags is None else {"words": words, "tags": tags}
            yield Input(Examples([words], None), row)
    elif form == "jsonl":
        table = open_table(path, dataclasses.replace(layout, form=form), (layout.text_column,))
        for place, row in table.rows:
            value = row[table.columns[0]]
            is_list = isinstance(value, list)
            text = _strings(value, path, place) if is_list else text_of(value, path, place)
            yield Input(Examples([text], None), row)
    else:
        yield from read_inputs(path, layout)


def _columns(layout: Layout, is_own: bool = True) -> tuple[int, int]:
    """Numbers of the columns of words and of tags.

    Args:
        is_own: Whether the layout is that of CoNLL files. The columns of a model's training data
            may have names; then those of the file are the first and the last.
    """
    given = ("text_column", layout.text_column), ("label_column", layout.label_column)
    numbers = []
    for (option, value), default in zip(given, (0, -1), strict=True):
        if _COLUMN.fullmatch(value):
            numbers.append(int(value))
        elif value == getattr(Layout, option) or not is_own:
            numbers.append(default)
        else:
            raise InputError(
                f"--{option.replace('_', '-')} {value}: columns of a CoNLL file have no names: "
                "give a number, 0 for the first, -1 for the last"
            )
    return numbers[0], numbers[1]


def _read_lists(path: str | Path, layout: Layout, labelled: bool) -> Examples:
    wanted = [layout.text_column, *([layout.label_column] if labelled else [])]
    table = open_table(path, layout, wanted)
    columns: list[list[list[str]]] = [[] for _ in wanted]
    for place, row in table.rows:
        lists = [_strings(row[column], path, place) for column in table.columns]
        if len({len(values) for values in lists}) > 1:
            raise InputError(
                f"{path}, {place}: {len(lists[0])} words and {len(lists[1])} tags; each word needs "
                "one"
            )
        if "" in lists[-1] and len(lists) > 1:
            raise InputError(f"{path}, {place}: a tag is empty")
        for column, values in zip(columns, lists, strict=True):
            column.append(values)
    if not columns[0]:
        raise InputError(f"{path}: holds no examples")
    return Examples(columns[0], columns[1] if len(columns) > 1 else None)


def _strings(value: Any, path: str | Path, place: str) -> list[str]:
    """A list of words or tags; tags may be whole numbers."""
    if not isinstance(value, list):
        raise InputError(f"{path}, {place}: a list of words, and one of their tags, is needed here")
    found = []
    for item in value:
        if not isinstance(item, str | int) or isinstance(item, bool):
            raise InputError(f"{path}, {place}: {item!r} in a list is no word and no tag")
        check_characters(str(item), path, place)
        found.append(str(item))
    return found

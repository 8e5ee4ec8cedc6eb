"""Words and their labels in CoNLL's form: a word a line, a blank line between sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines

_DOCUMENT_START = "-DOCSTART-"


class Sentence(NamedTuple):
    """The words of a sentence, and a label for each; None where the file has words only."""

    words: list[str]
    labels: list[str] | None


def read_conll(
    path: str | Path, word_column: int = 0, label_column: int = -1, encoding: str = "utf-8"
) -> list[Sentence]:
    """All sentences of a file; arguments and errors are those of `conll_sentences`.

    Raises:
        InputError: If there are none, too.
    """
    sentences = list(conll_sentences(path, word_column, label_column, encoding))
    if not sentences:
        raise InputError(f"{path}: holds no words")
    return sentences


def conll_sentences(
    path: str | Path, word_column: int = 0, label_column: int = -1, encoding: str = "utf-8"
) -> Iterator[Sentence]:
    """Yields the sentences of a file; those of a file with a single column have no labels.

    Columns are divided by tabs where the first line of words has one, else by spaces. Lines that
    begin with `-DOCSTART-` and comments, `# ` without further columns, are passed over.

    Args:
        path: A file, or `-` for standard input.
        word_column, label_column: Numbers of the columns, from 0, or from the end from -1.

    Raises:
        InputError: If a line has another number of columns than the others, or an empty one.
    """
    words: list[str] = []
    labels: list[str] = []
    separator, columns = None, 0
    for number, line in read_lines(path, encoding):
        line = line.rstrip("\r\n")
        if not line.strip():
            if words:
                yield Sentence(words, labels if columns > 1 else None)
                words, labels = [], []
            continue
        if not columns:
            separator = "\t" if "\t" in line else None
        if line.startswith(_DOCUMENT_START) or (line.startswith("# ") and "\t" not in line):
            continue
        cells = line.split(separator)
        columns = columns or len(cells)
        if len(cells) != columns:
            raise InputError(
                f"{path}, line {number}: {len(cells)} columns, where the lines before have "
                f"{columns}"
            )
        try:
            word, label = cells[word_column].strip(), cells[label_column].strip()
        except IndexError:
            raise InputError(
                f"{path}, line {number}: {columns} columns, so there is no column "
                f"{max(word_column, label_column)} (the first is 0, the last -1)"
            ) from None
        if not word or not label:
            raise InputError(f"{path}, line {number}: the word or its label is empty")
        words.append(word)
        labels.append(label)
    if words:
        yield Sentence(words, labels if columns > 1 else None)

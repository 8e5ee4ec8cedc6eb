"""Corpus files that say themselves where a document ends: WikiExtractor's, and JSON lines.

WikiExtractor writes `<doc id="12" url="..." title="Anarchism">`, a paragraph a line, and `</doc>`,
or with `--json` one object a line; other corpora are JSON lines with a `text`, too.

References:
    https://github.com/attardi/wikiextractor
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from tfbert.errors import InputError

_BEGIN = re.compile(r'\s*<doc id="[^"]*".*>\s*')
_END = re.compile(r"\s*</doc>\s*")
_JSON_BEGIN = re.compile(r'\{\s*"[^"]+"\s*:')
_OF_WIKIPEDIA = {"id", "url", "title", "text"}

# (line number, line), or parts of a long line, each with its number.
Lines: TypeAlias = Iterator[tuple[int, str]]


def find_marks(lines: Lines) -> tuple[str | None, Lines]:
    """What marks the documents of a file, by its first line that is not blank.

    Returns:
        `wiki`, `json` or None; and the lines from that one on.
    """
    first = next(((number, line) for number, line in lines if not line.isspace()), None)
    if first is None:
        return None, iter(())
    lines = itertools.chain([first], lines)
    if _BEGIN.fullmatch(first[1]):
        return "wiki", lines
    if not _JSON_BEGIN.match(first[1]):
        return None, lines
    lines = _whole_lines(lines)
    head = next(lines)
    return "json" if _text_of(head[1]) is not None else None, itertools.chain([head], lines)


def wiki_parts(lines: Lines, longest: int) -> Iterator[tuple[bool, str]]:
    """Yields (whether a document begins here, text): a paragraph is a line, blank lines between.

    Args:
        lines: Of WikiExtractor's file.
        longest: Characters after which a document comes in parts.
    """
    held: list[str] = []
    size, begins = 0, True
    for _, line in lines:
        if _BEGIN.fullmatch(line) or _END.fullmatch(line):
            yield begins, "".join(held)
            held, size, begins = [], 0, True
            continue
        held.append(line.replace("\n", "\n\n"))
        size += len(line)
        if size >= longest:
            yield begins, "".join(held)
            held, size, begins = [], 0, False
    yield begins, "".join(held)


def json_texts(lines: Lines, name: str) -> Iterator[str]:
    """Yields the `text` of each line.

    Args:
        name: The file's, for messages.

    Raises:
        InputError: If a line has none.
    """
    for number, line in _whole_lines(lines):
        if line.isspace():
            continue
        text = _text_of(line)
        if text is None:
            raise InputError(f'{name}, line {number}: no JSON object with a "text", as before')
        yield text


def cut_text(text: str, longest: int) -> Iterator[tuple[bool, str]]:
    """Yields (whether a document begins here, text): parts of `longest` characters."""
    for begin in range(0, len(text), longest):
        yield begin == 0, text[begin : begin + longest]


def _whole_lines(lines: Iterable[tuple[int, str]]) -> Lines:
    for number, parts in itertools.groupby(lines, key=lambda pair: pair[0]):
        yield number, "".join(part for _, part in parts)


def _text_of(line: str) -> str | None:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    text = found.get("text") if isinstance(found, dict) else None
    if not isinstance(text, str):
        return None
    # A paragraph a line, as in WikiExtractor's other form.
    return text.replace("\n", "\n\n") if found.keys() >= _OF_WIKIPEDIA else text

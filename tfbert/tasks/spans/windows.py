"""Windows of passages that are longer than a model's input (Devlin et al. 2019, section 4.2).

    [CLS] question [SEP] a part of the passage [SEP]

Parts begin `doc_stride` tokens after one another, so that an answer at the edge of one stands in
the middle of another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfbert.tasks.tokens.long_texts import parts
from tfbert.text.offsets import LocatedTokens


class Window(NamedTuple):
    """Where a part of a passage stands in a row of a model's input.

    Args:
        offset: Position of the part's first token in the row.
        first: Which token of the passage that is.
        size: How many of the passage's tokens the part has.
    """

    offset: int
    first: int
    size: int

    @property
    def length(self) -> int:
        """Tokens of the row, special ones included."""
        return self.offset + self.size + 1


def make_windows(
    question_tokens: int, passage_tokens: int, max_length: int, doc_stride: int
) -> Iterator[Window]:
    """The windows of one question, from the passage's begin to its end; one at least.

    Args:
        question_tokens: How many the question has, without special ones.
        passage_tokens: How many the passage has.
        max_length: Tokens of a row, special ones included; it leaves room for the passage.
        doc_stride: Tokens from the start of a part to that of the next.
    """
    room = max_length - question_tokens - 3
    if room < 1:
        raise ValueError(f"a question of {question_tokens} tokens leaves no room in {max_length}")
    for first, size in parts(passage_tokens, room, doc_stride):
        yield Window(question_tokens + 2, first, size)


def answer_tokens(passage: LocatedTokens, start: int, end: int) -> tuple[int, int] | None:
    """The first and last token of the characters from `start` up to `end`.

    Returns:
        Numbers of the passage's tokens; None if no token stands there, as in white space.
    """
    inside = np.flatnonzero((passage.ends > start) & (passage.starts < end))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def answer_positions(window: Window, tokens: tuple[int, int] | None) -> tuple[int, int]:
    """Where an answer's first and last token stand in a row; (0, 0), [CLS], if it lacks one."""
    if tokens is None:
        return 0, 0
    first, last = tokens[0] - window.first, tokens[1] - window.first
    if first < 0 or last >= window.size:
        return 0, 0
    return window.offset + first, window.offset + last

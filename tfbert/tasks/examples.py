"""Examples as they are read from the data, whatever is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Examples(NamedTuple):
    """Columns of equal length.

    Args:
        texts: A text each; in tagging the list of a sentence's words, of a span the question.
        labels: As the problem reads them (`Problem.read`): a name in classification, a list of
            names where there may be several, a number in regression, a list of tags, a tuple of
            answers. None where the data has none.
        pairs: The second text of each, where there are pairs; of a span the passage.
        ids: What the data calls each, where it does.
    """

    texts: list[Any]
    labels: list[Any] | None
    pairs: list[str] | None = None
    ids: list[str] | None = None

    def take(self, positions: Sequence[int] | np.ndarray) -> Examples:
        """The examples at some positions."""
        return self._each(lambda column: [column[position] for position in positions])

    def _each(self, function: Callable[[list[Any]], list[Any]]) -> Examples:
        columns: list[Any] = [None if column is None else function(column) for column in self]
        return Examples(*columns)

    def draw(self, count: int, seed: int) -> Examples:
        """`count` of the examples, in their order; all of them where there are no more."""
        order = np.random.default_rng(seed).permutation(len(self.texts))
        return self.take(np.sort(order[:count]))


def joined(parts: Sequence[Examples]) -> Examples:
    """Several lots of examples as one."""
    columns: list[Any] = [
        None if column[0] is None else [value for values in column for value in values]
        for column in zip(*parts, strict=True)
    ]
    return Examples(*columns)

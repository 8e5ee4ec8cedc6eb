"""Batches of a task as what `fit`, `evaluate` and `predict` take."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tfbert.hardware.input_pipeline import ArraySpec, Batches, numbered_batches
from tfbert.tasks.tokens.batching import LengthBatches, TokenBatches, collate, padded_length
from tfbert.tasks.tokens.encoded import RowTargets, TokenTargets
from tfbert.tasks.tokens.tokenization import TokenizedTexts

# (inputs, targets, weights): see `collate` and `RowTargets.batch`.
LabelledBatch: TypeAlias = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """Labelled batches of all epochs: a batch source (`BatchSource` in `tfbert.fit`).

    Args:
        lengths: (n,) the lengths that batches may be padded to.
        targets: One a row of `texts`, or one a token.
        rows: Rows that every batch is filled up to, by rows of weight 0, or a function of the
            length that a batch is padded to; None leaves one of an epoch smaller. A TPU takes
            batches of one shape only, so `lengths` must be one as well.
    """

    texts: TokenizedTexts
    batches: LengthBatches | TokenBatches
    lengths: np.ndarray
    targets: RowTargets | TokenTargets
    rows: int | Callable[[int], int | None] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch."""
        return self.batches.steps

    @property
    def usual_length(self) -> int:
        """The length that most batches are padded to."""
        found = [
            padded_length(self.texts.lengths[batch], self.lengths)
            for batch in self.batches.epoch(0)
        ]
        return collections.Counter(found).most_common(1)[0][0]

    def examples_in(self, epoch: int, first: int, last: int) -> int:
        """Examples of the steps `first` to `last` of an epoch, both included."""
        return int(_sizes(self.batches, epoch)[first : last + 1].sum())

    def dataset(self, epoch: int, step: int) -> Batches:
        """All batches (`LabelledBatch`) from that step of that epoch on, without end."""
        positions_of = functools.lru_cache(maxsize=1)(self.batches.epoch)

        def make(number: int) -> LabelledBatch:
            epoch, step = divmod(number, self.steps_per_epoch)
            positions = positions_of(epoch)[step]
            rows = self.rows
            if callable(rows):
                rows = rows(padded_length(self.texts.lengths[positions], self.lengths))
            return _labelled(self.texts, positions, self.lengths, self.targets, rows)

        first = epoch * self.steps_per_epoch + step
        rows = None if callable(self.rows) else self.rows
        return _dataset(make, first, None, self.lengths, rows, self.targets)


def prediction_dataset(
    texts: TokenizedTexts, batches: LengthBatches, lengths: np.ndarray, rows: int | None = None
) -> Batches:
    """One pass over texts without labels: a dataset of inputs; `rows` as in `TrainingBatches`."""
    positions = batches.epoch(0)

    def make(number: int) -> tuple[dict[str, np.ndarray]]:
        return (prediction_inputs(texts, positions[number], lengths, rows),)

    return _dataset(make, 0, batches.steps, lengths, rows)


def prediction_inputs(
    texts: TokenizedTexts, positions: np.ndarray, lengths: np.ndarray, rows: int | None = None
) -> dict[str, np.ndarray]:
    """One batch of texts without labels, as `collate` returns it."""
    return collate(texts, _filled(positions, rows), lengths)


@functools.lru_cache(maxsize=1)
def _sizes(batches: LengthBatches | TokenBatches, epoch: int) -> np.ndarray:
    """(steps,) examples of each batch of an epoch."""
    return np.array([len(batch) for batch in batches.epoch(epoch)])


def _labelled(
    texts: TokenizedTexts,
    positions: np.ndarray,
    lengths: np.ndarray,
    targets: RowTargets | TokenTargets,
    rows: int | None,
) -> LabelledBatch:
    """The batch of some positions, filled up with rows of weight 0."""
    filled = _filled(positions, rows)
    inputs = collate(texts, filled, lengths)
    values, weights = targets.batch(filled, inputs["token_ids"].shape[1])
    weights[len(positions) :] = 0
    return inputs, values, weights


def _filled(positions: np.ndarray, rows: int | None) -> np.ndarray:
    """Positions, and copies of the first until there are `rows`.

    The rows are not empty ones: attention over nothing is NaN.
    """
    missing = 0 if rows is None else rows - len(positions)
    return np.append(positions, np.repeat(positions[:1], missing))


def _dataset(
    make: Callable[[int], tuple],
    first: int,
    batches: int | None,
    lengths: np.ndarray,
    rows: int | None,
    targets: RowTargets | TokenTargets | None = None,
) -> Batches:
    """`numbered_batches` of inputs, and with targets and weights where there are `targets`."""
    length = int(lengths[0]) if len(lengths) == 1 else None
    names = ("token_ids", "segment_ids", "padding_mask")
    inputs = {name: ArraySpec((rows, length), "int32") for name in names}
    others = () if targets is None else targets.specs(rows, length)
    return numbered_batches(make, first, batches, (inputs, *(ArraySpec(*s) for s in others)))

"""Batches of a task as what `fit`, `evaluate` and `predict` take."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tfbert.hardware.input_pipeline import numbered_batches
from tfbert.tasks.batching import LengthBatches, TokenBatches, collate
from tfbert.tasks.tokenization import TokenizedTexts

if TYPE_CHECKING:
    import tensorflow as tf

# (inputs, labels, weights): see `collate`; (batch,) int32; (batch,) float32.
LabelledBatch: TypeAlias = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """Labelled batches of all epochs: a batch source (`BatchSource` in `tfbert.fit`).

    Args:
        lengths: (n,) the lengths that batches may be padded to.
        labels: (examples,) int32.
        class_weights: (classes,) float32, the weight of each class in the loss.
        rows: Rows that every batch is filled up to, by rows of weight 0; None leaves one of an
            epoch smaller. A TPU takes batches of one shape only, so `lengths` must be one as well.
    """

    texts: TokenizedTexts
    batches: LengthBatches | TokenBatches
    lengths: np.ndarray
    labels: np.ndarray
    class_weights: np.ndarray
    rows: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch."""
        return self.batches.steps

    def examples_in(self, epoch: int, first: int, last: int) -> int:
        """Examples of the steps `first` to `last` of an epoch, both included."""
        return int(_sizes(self.batches, epoch)[first : last + 1].sum())

    def dataset(self, epoch: int, step: int) -> tf.data.Dataset:
        """All batches (`LabelledBatch`) from that step of that epoch on, without end."""
        positions_of = functools.lru_cache(maxsize=1)(self.batches.epoch)

        def make(number: int) -> LabelledBatch:
            epoch, step = divmod(number, self.steps_per_epoch)
            positions = positions_of(epoch)[step]
            weights = self.class_weights[self.labels[positions]]
            return _labelled(self.texts, positions, self.lengths, self.labels, weights, self.rows)

        first = epoch * self.steps_per_epoch + step
        return _dataset(make, first, None, self.lengths, self.rows)


def evaluation_dataset(
    texts: TokenizedTexts,
    batches: LengthBatches,
    lengths: np.ndarray,
    labels: np.ndarray,
    rows: int | None = None,
) -> tf.data.Dataset:
    """One pass over labelled examples: a dataset as that of `TrainingBatches`, all of weight 1."""
    positions = batches.epoch(0)

    def make(number: int) -> LabelledBatch:
        weights = np.ones(len(positions[number]), np.float32)
        return _labelled(texts, positions[number], lengths, labels, weights, rows)

    return _dataset(make, 0, batches.steps, lengths, rows)


def prediction_dataset(
    texts: TokenizedTexts, batches: LengthBatches, lengths: np.ndarray, rows: int | None = None
) -> tf.data.Dataset:
    """One pass over texts without labels: a dataset of inputs; `rows` as in `TrainingBatches`."""
    positions = batches.epoch(0)

    def make(number: int) -> tuple[dict[str, np.ndarray]]:
        return (prediction_inputs(texts, positions[number], lengths, rows),)

    return _dataset(make, 0, batches.steps, lengths, rows, labelled=False)


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
    labels: np.ndarray,
    weights: np.ndarray,
    rows: int | None,
) -> LabelledBatch:
    """The batch of some positions with their weights, filled up with rows of weight 0."""
    filled = _filled(positions, rows)
    weights = np.pad(weights, (0, len(filled) - len(positions)))
    return collate(texts, filled, lengths), labels[filled], weights


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
    labelled: bool = True,
) -> tf.data.Dataset:
    """`numbered_batches` of inputs, and with labels and weights where they are `labelled`."""
    import tensorflow as tf

    length = int(lengths[0]) if len(lengths) == 1 else None
    names = ("token_ids", "segment_ids", "padding_mask")
    inputs = {name: tf.TensorSpec((rows, length), tf.int32) for name in names}
    others = (tf.TensorSpec((rows,), tf.int32), tf.TensorSpec((rows,), tf.float32))
    return numbered_batches(make, first, batches, (inputs, *others) if labelled else (inputs,))

"""Batches as what `fit` and `predict` take."""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np

from tfbert.tasks.batching import LengthBatches, TokenBatches, collate


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """Labelled batches of all epochs: a `tfbert.fit.epoch_data.BatchSource`.

    Args:
        texts: `TokenizedTexts`.
        batches: `LengthBatches` or `TokenBatches`.
        lengths: (n,) the lengths that batches may be padded to.
        labels: (examples,) int32.
        class_weights: (classes,) float32, the weight of each class in the loss.
        rows: Rows that every batch is filled up to, by rows of weight 0; None leaves one of an
            epoch smaller. A TPU takes batches of one shape only: give it one length, too.
    """

    texts: Any
    batches: LengthBatches | TokenBatches
    lengths: np.ndarray
    labels: np.ndarray
    class_weights: np.ndarray
    rows: int | None = None

    @property
    def steps_per_epoch(self):
        """Batches an epoch."""
        return self.batches.steps

    def examples_in(self, epoch, first, last):
        """Examples of the steps `first` to `last` of an epoch, both included."""
        return int(_sizes(self.batches, epoch)[first : last + 1].sum())

    def dataset(self, epoch, step):
        """All batches from that step of that epoch on, without end.

        Returns:
            A `tf.data.Dataset` of (inputs, labels, weights): see `collate`; (batch,) int32;
            (batch,) float32.
        """

        def generate():
            first = step
            for number in itertools.count(epoch):
                for rows in self.batches.epoch(number)[first:]:
                    labels = self.labels[rows]
                    inputs = collate(self.texts, rows, self.lengths)
                    yield _filled((inputs, labels, self.class_weights[labels]), self.rows)
                first = 0

        return _dataset(generate, True, None, _shape(self.rows, self.lengths))


def evaluation_dataset(texts, batches, lengths, labels, rows=None):
    """One pass over labelled examples: a dataset as that of `TrainingBatches`, all of weight 1."""

    def generate():
        for chosen in batches.epoch(0):
            weights = np.ones(len(chosen), np.float32)
            yield _filled((collate(texts, chosen, lengths), labels[chosen], weights), rows)

    return _dataset(generate, True, batches.steps, _shape(rows, lengths))


def prediction_dataset(texts, batches, lengths, rows=None):
    """One pass over texts without labels: a dataset of inputs; `rows` as in `TrainingBatches`."""

    def generate():
        for chosen in batches.epoch(0):
            inputs = collate(texts, chosen, lengths)
            yield ({name: _fill(array, rows) for name, array in inputs.items()},)

    return _dataset(generate, False, batches.steps, _shape(rows, lengths))


@functools.lru_cache(maxsize=1)
def _sizes(batches, epoch):
    """(steps,) examples of each batch of an epoch."""
    return np.array([len(batch) for batch in batches.epoch(epoch)])


def _filled(example, rows):
    """(inputs, labels, weights), filled up with rows of weight 0."""
    inputs, labels, weights = example
    filled = {name: _fill(array, rows) for name, array in inputs.items()}
    return filled, _fill(labels, rows), np.pad(weights, (0, (rows or len(weights)) - len(weights)))


def _fill(array, rows):
    """An array with copies of its first row at the end, until it has `rows`.

    Not with empty rows: attention over nothing is no number.
    """
    missing = 0 if rows is None else rows - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def _shape(rows, lengths):
    """(rows, length) of a batch, each None where it changes."""
    return rows, int(lengths[0]) if len(lengths) == 1 else None


def _dataset(generate, labelled, batches, shape):
    """`batches` is how many there are; None means no end."""
    import tensorflow as tf

    ids = tf.TensorSpec(shape, tf.int32)
    inputs = {"token_ids": ids, "segment_ids": ids, "padding_mask": ids}
    labels, weights = tf.TensorSpec(shape[:1], tf.int32), tf.TensorSpec(shape[:1], tf.float32)
    signature = (inputs, labels, weights) if labelled else (inputs,)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    count = tf.data.INFINITE_CARDINALITY if batches is None else batches
    return untuned(dataset.apply(tf.data.experimental.assert_cardinality(count)))


def untuned(dataset):
    """A dataset without tf.data's autotuning, which has nothing to tune where Python makes batches.

    Its thread sleeps ever longer, up to a minute, and who lets go of an iterator waits until it
    wakes (TensorFlow 2.20): ten seconds and more an evaluation.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)

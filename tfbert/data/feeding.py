"""Batches as what `fit` and `predict` take."""

import dataclasses
import itertools
from typing import Any

import numpy as np

from tfbert.data.batching import LengthBatches, TokenBatches, collate


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """Labelled batches of all epochs: a `tfbert.training.epoch_data.BatchSource`.

    Args:
        texts: `TokenizedTexts`.
        batches: `LengthBatches` or `TokenBatches`.
        lengths: (n,) the lengths that batches may be padded to.
        labels: (examples,) int32.
        class_weights: (classes,) float32, the weight of each class in the loss.
    """

    texts: Any
    batches: LengthBatches | TokenBatches
    lengths: np.ndarray
    labels: np.ndarray
    class_weights: np.ndarray

    @property
    def steps_per_epoch(self):
        """Batches an epoch."""
        return self.batches.steps

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
                    yield inputs, labels, self.class_weights[labels]
                first = 0

        return _dataset(generate, labelled=True, batches=None)


def evaluation_dataset(texts, batches, lengths, labels):
    """One pass over labelled examples: a dataset as that of `TrainingBatches`, all of weight 1."""

    def generate():
        for rows in batches.epoch(0):
            yield collate(texts, rows, lengths), labels[rows], np.ones(len(rows), np.float32)

    return _dataset(generate, labelled=True, batches=batches.steps)


def prediction_dataset(texts, batches, lengths):
    """One pass over texts without labels: a dataset of inputs."""

    def generate():
        for rows in batches.epoch(0):
            yield (collate(texts, rows, lengths),)

    return _dataset(generate, labelled=False, batches=batches.steps)


def _dataset(generate, labelled, batches):
    """`batches` is how many there are; None means no end."""
    import tensorflow as tf

    ids = tf.TensorSpec([None, None], tf.int32)
    inputs = {"token_ids": ids, "segment_ids": ids, "padding_mask": ids}
    labels, weights = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)
    signature = (inputs, labels, weights) if labelled else (inputs,)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    count = tf.data.INFINITE_CARDINALITY if batches is None else batches
    return dataset.apply(tf.data.experimental.assert_cardinality(count))

"""Batches as a `tf.data.Dataset` that `fit` and `predict` take, on any number of replicas."""

import itertools

import numpy as np

from tfbert.data.batching import collate


def training_dataset(texts, batches, max_length, labels, class_weights, replicas=1):
    """All epochs of training, one after the other, without end.

    Args:
        texts: `TokenizedTexts`.
        batches: `LengthBatches`.
        max_length: Longest sequence.
        labels: (examples,) int32.
        class_weights: (classes,) float, the weight of each class in the loss.
        replicas: Number of devices that share a batch.

    Returns:
        A dataset of (inputs, labels, weights): see `collate`; (batch,) int32; (batch,) float32.
    """

    def generate():
        for epoch in itertools.count():
            for positions in batches.epoch(epoch):
                rows, weights = _fill_up(positions, replicas)
                weights *= class_weights[labels[rows]]
                yield collate(texts, rows, max_length), labels[rows], weights

    return _dataset(generate, labelled=True, batches=None)


def evaluation_dataset(texts, batches, max_length, labels, replicas=1):
    """One pass over labelled examples, all of weight 1; as `training_dataset`."""

    def generate():
        for positions in batches.epoch(0):
            rows, weights = _fill_up(positions, replicas)
            yield collate(texts, rows, max_length), labels[rows], weights

    return _dataset(generate, labelled=True, batches=batches.steps)


def prediction_dataset(texts, batches, max_length, replicas=1):
    """One pass over texts without labels: a dataset of inputs."""

    def generate():
        for positions in batches.epoch(0):
            rows, _ = _fill_up(positions, replicas)
            yield (collate(texts, rows, max_length),)

    return _dataset(generate, labelled=False, batches=batches.steps)


def _fill_up(positions, replicas):
    """Makes a batch divisible by the replicas by repeating its first example.

    A replica with nothing to do would report a mean over nothing, NaN. The copies weigh nothing;
    the real examples weigh so much more that the mean over all rows is the mean over them.

    Returns:
        (rows,) positions and (rows,) float32 weights.
    """
    missing = -len(positions) % replicas
    weights = np.ones(len(positions) + missing, np.float32)
    if missing:
        weights[:] = len(weights) / len(positions)
        weights[len(positions) :] = 0.0
        positions = np.concatenate([positions, np.repeat(positions[:1], missing)])
    return positions, weights


def _dataset(generate, labelled, batches):
    """`batches` is how many there are; None means no end."""
    import tensorflow as tf

    ids = tf.TensorSpec([None, None], tf.int32)
    inputs = {"token_ids": ids, "segment_ids": ids, "padding_mask": ids}
    labels, weights = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)
    signature = (inputs, labels, weights) if labelled else (inputs,)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    count = tf.data.INFINITE_CARDINALITY if batches is None else batches
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    options = tf.data.Options()
    # Every worker makes whole global batches; nothing is to be divided among files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)

"""Sparse and ragged batches, in parts as whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import Linear

import tfbert
from tfbert.fit.engine.tensorflow.division import rows_of_part
from tfbert.hardware.strategies import get_strategy

ROWS, WIDTH, BATCH = 11, 6, 4
RANDOM = np.random.default_rng(2)
DENSE = (RANDOM.random((ROWS, WIDTH)) * (RANDOM.random((ROWS, WIDTH)) < 0.4)).astype(np.float32)
LABELS = RANDOM.integers(0, 2, ROWS).astype(np.int32)
LENGTHS = [3, 1, 0, 4, 2, 2, 5, 1, 3, 0, 2]


@pytest.mark.parametrize("parts", [1, 2, 3, 12])
def test_parts_of_a_sparse_and_a_ragged_batch_are_those_of_a_dense_one(parts):
    sparse = tf.sparse.from_dense(DENSE)
    ragged = tf.RaggedTensor.from_row_lengths(tf.range(sum(LENGTHS)), LENGTHS)
    for index in range(parts):
        number = tf.constant(index)
        expected = rows_of_part(tf.constant(DENSE), number, parts)
        part = rows_of_part(sparse, number, parts)
        assert part.shape[1:] == [WIDTH]
        np.testing.assert_array_equal(tf.sparse.to_dense(part), expected)
        rows = rows_of_part(ragged, number, parts).to_list()
        first = index * -(-ROWS // parts)
        assert rows == ragged.to_list()[first : first + len(expected)]


def of_sparse():
    inputs = keras.Input((WIDTH,), sparse=True)
    return Linear(inputs, keras.layers.Dense(2)(inputs)), tf.sparse.from_dense(DENSE)


class MeanOfWords(tfbert.DistributedTrainer, keras.Model):
    """Logits of the mean of the vectors of a row's words; a row without words has the bias."""

    def __init__(self):
        super().__init__()
        self.table = self.add_weight((20, 2), initializer="ones")
        self.bias = self.add_weight((2,), initializer="zeros")

    def call(self, x):
        if not isinstance(x, tf.RaggedTensor):  # Keras builds a model with a dense stand-in
            x = tf.RaggedTensor.from_tensor(x)
        words = tf.gather(self.table.value, x.values)
        count = tf.cast(x.nrows(), tf.int32)
        totals = tf.math.unsorted_segment_sum(words, tf.cast(x.value_rowids(), tf.int32), count)
        return totals / tf.cast(tf.maximum(x.row_lengths(), 1), tf.float32)[:, None] + self.bias


def of_ragged():
    words = RANDOM.integers(0, 20, sum(LENGTHS)).astype(np.int32)
    return MeanOfWords(), tf.RaggedTensor.from_row_lengths(words, LENGTHS)


def trained(make, strategy, accumulate_steps):
    keras.utils.set_random_seed(3)
    RANDOM.bit_generator.state = np.random.default_rng(5).bit_generator.state
    with strategy.scope():
        model, rows = make()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        options = {"metrics": ["accuracy"], "accumulate_steps": accumulate_steps}
        model.compile(keras.optimizers.SGD(0.5), loss, **options)
    dataset = tf.data.Dataset.from_tensor_slices((rows, LABELS)).batch(BATCH)
    history = model.fit(dataset, epochs=2, verbose=0).history
    return [*model.get_weights(), history["loss"], model.predict(dataset, verbose=0)]


@pytest.mark.parametrize("make", [of_sparse, of_ragged])
def test_they_train_on_replicas_and_in_micro_batches(make, two_replicas):
    whole = trained(make, get_strategy("cpu"), 1)
    divided = trained(make, two_replicas, 2)
    for one, other in zip(divided, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

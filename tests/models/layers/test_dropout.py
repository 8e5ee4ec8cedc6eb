import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfbert.fit.dropout_seeds import stateless_dropout, step_key
from tfbert.models.layers.dropout import Dropout

SIZE = 1_000_000
# Two-sided probability of a false alarm at fixed seeds: chosen once, before any run.
SIGMAS = 4


def mask(layer, shape=(SIZE,)):
    """The next mask of a layer, 1 where an element is kept."""
    return (np.asarray(layer(tf.ones(shape), training=True)) != 0).astype(np.float64)


def assert_uncorrelated(a, b, about=None):
    score = np.corrcoef(a, b)[0, 1] * np.sqrt(len(a))  # standard normal, if independent
    assert abs(score) < SIGMAS, about


@pytest.mark.parametrize(
    ("rate", "bits", "used"),
    [(0.1, 8, 26 / 256), (0.1, 16, 6554 / 65536), (0.5, 8, 0.5), (0.002, 8, 1 / 256)],
)
def test_elements_are_dropped_at_the_stated_rate(rate, bits, used):
    layer = Dropout(rate, bits=bits, seed=1)
    assert layer.keep_probability == 1 - used
    kept = mask(layer)
    assert abs(kept.mean() - (1 - used)) < SIGMAS * np.sqrt(used * (1 - used) / SIZE)


def test_the_rate_is_the_same_in_each_byte_of_a_word():
    kept = mask(Dropout(0.1, seed=2)).reshape(-1, 16).mean(axis=0)
    p = 230 / 256
    assert np.abs(kept - p).max() < SIGMAS * np.sqrt(p * (1 - p) / (SIZE / 16))


@pytest.mark.parametrize("bits", [8, 16])
def test_elements_are_independent(bits):
    kept = mask(Dropout(0.1, bits=bits, seed=3))
    for lag in (1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 384, 512, 1000, 65536):
        assert_uncorrelated(kept[:-lag], kept[lag:], lag)


def test_drops_in_blocks_follow_the_binomial_distribution():
    dropped = 16 - mask(Dropout(0.1, seed=4)).reshape(-1, 16).sum(axis=1)
    edges = np.arange(7)
    counts = [(dropped == k).sum() for k in edges[:-1]] + [(dropped >= edges[-1]).sum()]
    binomial = stats.binom(16, 26 / 256)
    expected = [binomial.pmf(k) for k in edges[:-1]] + [binomial.sf(edges[-1] - 1)]
    assert stats.chisquare(counts, np.array(expected) * len(dropped)).pvalue > 1e-4


def test_seeds_updates_micro_batches_replicas_and_layers_are_independent():
    one = Dropout(0.1, seed=5)
    masks = [mask(one), mask(one), mask(Dropout(0.1, seed=6)), mask(Dropout(0.1, seed=7))]
    # With the seeds that training hands out, which differ by a few bits.
    model = keras.Sequential([Dropout(0.1, name="a"), Dropout(0.1, name="b")])
    for place in ((7, 0, 0), (8, 0, 0), (7, 1, 0), (7, 0, 1), (7, 0, 2), (7, 1, 1)):
        with stateless_dropout(model, step_key(1, *place)):
            masks += [mask(layer) for layer in model.layers]
    for a, b in itertools.combinations(masks, 2):
        assert_uncorrelated(a, b)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_kept_elements_have_the_exact_scale(dtype):
    layer = Dropout(0.1, seed=1, dtype=dtype)
    inputs = tf.cast(tf.random.stateless_normal((64, 65), seed=(1, 2)), dtype)
    outputs = layer(inputs, training=True)
    assert outputs.dtype == dtype
    expected = tf.cast(tf.cast(inputs, "float32") * (256 / 230), dtype)  # rounded once
    kept = np.asarray(outputs) != 0
    assert 0.85 < kept.mean() < 0.95
    np.testing.assert_array_equal(np.asarray(outputs)[kept], np.asarray(expected)[kept])


@pytest.mark.parametrize(
    ("bits", "rate"),
    [
        *((16, rate) for rate in (0.001, 0.002, 0.01, 0.995, 0.9999)),
        *((8, rate) for rate in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.9)),
    ],
)
def test_a_rate_that_8_bits_would_change_takes_16_and_a_common_one_8(bits, rate):
    layer = Dropout(rate, seed=1)
    assert layer.bits == Dropout.from_config(layer.get_config()).bits == bits
    if bits == 16:
        assert layer.keep_probability == pytest.approx(1 - rate, abs=2**-17)
    else:
        assert layer.keep_probability == pytest.approx(1 - rate, rel=0.02)
        assert 1 - layer.keep_probability == pytest.approx(rate, rel=0.02)


def test_the_scale_has_no_bias_in_bfloat16():
    """The scale rounded by itself would be a third of a percent too small.

    From 1 to 2 there are 128 numbers, whose roundings are independent errors.
    """
    layer = Dropout(0.1, seed=8, dtype="bfloat16")
    inputs = tf.cast(tf.random.stateless_uniform((100_000,), (1, 2), 1.0, 2.0), "bfloat16")
    ratios = np.float64(layer(inputs, training=True)) / np.float64(inputs)
    ratios = ratios[ratios != 0]
    assert abs(ratios.mean() * 230 / 256 - 1) < SIGMAS * ratios.std() / np.sqrt(128)


def test_the_expectation_is_the_input():
    layer = Dropout(0.1, seed=8)
    row = np.float32([3.0, -2.0, 0.5])
    mean = np.float64(layer(tf.constant([row] * 200_000), training=True)).mean(axis=0)
    assert (np.abs(mean - row) < SIGMAS * np.abs(row) * np.sqrt(26 / 230 / 200_000)).all()


def test_the_gradient_is_masked_and_scaled_alike():
    layer = Dropout(0.3, seed=9)
    inputs, upstream = tf.random.stateless_normal((2, 50, 7), seed=(1, 2)), tf.ones((2, 50, 7))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    gradient = np.asarray(tape.gradient(outputs, inputs, upstream * 2))
    expected = np.where(np.asarray(outputs) != 0, np.float32(2 * 256 / 179), 0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_a_mask_is_a_function_of_the_seed_with_and_without_xla():
    layer = Dropout(0.1, seed=0)
    inputs, seed = tf.ones((30, 33)), tf.constant([2**40 + 1, 17], tf.int64)
    eager = np.asarray(layer.drop(inputs, seed))
    for jit_compile in (False, True):
        compiled = tf.function(layer.drop, jit_compile=jit_compile)
        np.testing.assert_array_equal(compiled(inputs, seed), eager)
    assert (np.asarray(layer.drop(inputs, seed + 1)) != eager).any()


def test_each_training_call_draws_one_seed_and_no_other_call_does():
    layer, inputs = Dropout(0.1, seed=0), tf.ones((9, 9))
    seeds = [tf.constant([1, 2], tf.int64), tf.constant([3, 4], tf.int64)]
    expected = [np.asarray(layer.drop(inputs, seed)) for seed in seeds]
    layer.seed_generator.next = lambda: seeds.pop(0)
    np.testing.assert_array_equal(layer(inputs), inputs)
    for array in expected:
        np.testing.assert_array_equal(layer(inputs, training=True), array)
    assert not seeds
    assert not hasattr(Dropout(0.0), "seed_generator")
    np.testing.assert_array_equal(Dropout(0.0)(inputs, training=True), inputs)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_shapes_may_be_unknown_and_without_rows(jit_compile):
    layer = Dropout(0.1, seed=0)

    @tf.function(jit_compile=jit_compile, input_signature=[tf.TensorSpec((None, None, 3))])
    def call(inputs):
        return layer(inputs, training=True)

    for shape in ((2, 5, 3), (1, 1, 3), (0, 5, 3)):
        assert call(tf.ones(shape)).shape == shape


def test_config_round_trip():
    layer = Dropout(0.1, bits=16, seed=4, name="own")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (copy.rate, copy.bits, copy.seed, copy.name) == (0.1, 16, 4, "own")
    np.testing.assert_array_equal(mask(copy, (500,)), mask(layer, (500,)))


@pytest.mark.parametrize(
    ("rate", "bits", "message"),
    [
        (1.0, 8, "from 0 to below 1"),
        (-0.1, 8, "from 0 to below 1"),
        (0.1, 32, "8 or 16 bits"),
        (0.001, 8, "rounds to 0 in 8 bits; try bits=16"),
        (0.999, 8, "rounds to 1 in 8 bits; try bits=16"),
        (1e-6, 16, "rounds to 0 in 16 bits$"),
    ],
)
def test_rates_that_cannot_be_are_refused(rate, bits, message):
    with pytest.raises(ValueError, match=message):
        Dropout(rate, bits=bits)

"""Against the formulas in float64: inputs are numbers of bfloat16, results rounded to it once."""

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tfbert.models.layers import short_forms

RANDOM = np.random.default_rng(0)
ROUNDING = 2.0**-8  # of bfloat16, relative


def in_bfloat16(*shape, mean=0.0):
    return (mean + RANDOM.normal(size=shape)).astype(ml_dtypes.bfloat16)


X, RESIDUAL, UPSTREAM = (in_bfloat16(3, 5, 16, mean=mean) for mean in (2.0, -1.0, 0.5))


def exact(tensor):
    return np.asarray(tensor).astype(np.float64)


def built(layer, dtype="mixed_bfloat16"):
    """A layer of 16 inputs whose weights are numbers of bfloat16, far from their initial values."""
    layer = layer(dtype)
    layer.build((3, 5, 16))
    for weight in layer.weights:
        weight.assign(in_bfloat16(*weight.shape).astype(np.float32))
    return layer


def norm(dtype):
    return keras.layers.LayerNormalization(epsilon=1e-12, dtype=dtype)


def dense(dtype):
    return keras.layers.Dense(8, dtype=dtype)


class Outer(keras.layers.Layer):
    """Calls a function as a layer does, with weights in the compute dtype."""

    def __init__(self, function, dtype):
        super().__init__(dtype=dtype)
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def computed(function, inputs, weights, upstream, dtype="mixed_bfloat16"):
    """Output, gradients of inputs, gradients of weights: arrays of float64."""
    outer = Outer(lambda tensors: function(*tensors), dtype)
    inputs = [tf.constant(array) for array in inputs]

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = outer(inputs)
        assert output.dtype == inputs[0].dtype
        return output, *tape.gradient(output, [*inputs, *(w.value for w in weights)], upstream)

    return [exact(t) for t in step()]


def assert_close(found, expected):
    """Up to rounding of bfloat16, relative to the largest element."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=ROUNDING, atol=ROUNDING * abs(theirs).max())


def test_layer_normalisation_of_a_sum():
    layer = built(norm)
    found = computed(
        lambda x, residual: short_forms.normalized_sum(layer, x, residual),
        [X, RESIDUAL],
        layer.trainable_variables,
        UPSTREAM,
    )
    gamma, beta = map(np.float64, layer.weights)
    total, upstream = exact(X) + exact(RESIDUAL), exact(UPSTREAM)
    deviation = np.sqrt(total.var(-1, keepdims=True) + 1e-12)
    h = (total - total.mean(-1, keepdims=True)) / deviation
    # The Jacobian of h of each token, written out: (tokens, 16, 16).
    rows = h.reshape(-1, 16)
    jacobians = np.eye(16) - 1 / 16 - rows[:, :, None] * rows[:, None, :] / 16
    jacobians /= deviation.reshape(-1, 1, 1)
    d_x = np.einsum("nij,nj->ni", jacobians, (gamma * upstream).reshape(-1, 16)).reshape(X.shape)
    d_gamma, d_beta = (upstream * h).sum((0, 1)), upstream.sum((0, 1))
    assert_close(found, [gamma * h + beta, d_x, d_x, d_gamma, d_beta])


def test_a_dense_layer():
    layer = built(dense)
    upstream = in_bfloat16(3, 5, 8)
    found = computed(
        lambda x: short_forms.dense(layer, x), [X], layer.trainable_variables, upstream
    )
    kernel, bias = map(np.float64, layer.weights)
    x, d_y = exact(X), exact(upstream)
    expected = [
        x @ kernel + bias,
        d_y @ kernel.T,
        np.einsum("abi,abj->ij", x, d_y),
        d_y.sum((0, 1)),
    ]
    assert_close(found, expected)


def test_no_rows():
    layers = built(dense), built(norm)
    output, *gradients = computed(
        lambda x: short_forms.dense(layers[0], short_forms.normalized_sum(layers[1], x, x)),
        [X[:0]],
        [v for layer in layers for v in layer.trainable_variables],
        UPSTREAM[:0, :, :8],
    )
    assert output.shape == (0, 5, 8)
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("place", ["float32", "TPU", "GPU"])
def test_elsewhere_the_layers_are_keras_own(place, monkeypatch, two_cpu_devices):
    dtype = "float32" if place == "float32" else "bfloat16"
    if place == "GPU":
        monkeypatch.setattr(
            tf.config, "list_logical_devices", lambda kind: [kind] * (kind == "GPU")
        )
    if place == "TPU":
        from helpers.fake_tpu_strategy import strategy_of_two_devices

        strategy = strategy_of_two_devices()
        monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    assert not short_forms.are_taken(dtype)

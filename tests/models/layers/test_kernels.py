import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf

from tfbert.models.layers.kernels import gelu, gelu_tanh

POINTS = np.concatenate([np.linspace(-12, 12, 4801), [-200.0, 200.0, 0.0]])


def exact(x):
    """Value and slope in float64: x times the normal distribution, and its derivative by hand."""
    distribution = 0.5 * (1 + erf(x / np.sqrt(2)))
    return x * distribution, distribution + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def approximate(x):
    """The same of the paper's approximation by tanh."""
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    tanh = np.tanh(u)
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * x * (1 + tanh), 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh**2) * slope


def computed(function, dtype, jit_compile=False):
    """Points in their dtype, values and slopes, as float64."""

    @tf.function(jit_compile=jit_compile)
    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, x)

    x = tf.cast(POINTS, dtype)
    return [np.asarray(tf.cast(t, tf.float64)) for t in (x, *compute(x))]


BOTH_FORMS = pytest.mark.parametrize(
    ("function", "reference"), [(gelu, exact), (gelu_tanh, approximate)]
)


@BOTH_FORMS
@pytest.mark.parametrize("jit_compile", [False, True])
def test_value_and_gradient_are_the_formula_s(function, reference, jit_compile):
    x, *found = computed(function, tf.float32, jit_compile)
    np.testing.assert_allclose(found, reference(x), rtol=1e-5, atol=2e-6)


@BOTH_FORMS
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_low_precision_is_no_worse_than_keras_own(function, reference, dtype):
    def errors(function):
        x, *found = computed(function, dtype)
        usual = np.abs(x) < 20  # beyond, float16 squares overflow in Keras' form
        return np.sqrt(np.mean((np.subtract(found, reference(x))[:, usual]) ** 2, axis=1))

    def stock(x):
        return keras.activations.gelu(x, approximate=function is gelu_tanh)

    assert (errors(function) <= 1.05 * errors(stock)).all()

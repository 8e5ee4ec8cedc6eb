"""BERT's GELU in its tanh form, with a gradient that keeps its input alone."""

import math

import keras
from keras import ops

from tfbert.models.fusion import fused, with_gradient

# tanh(u) = 2 sigmoid(2u) - 1, so that the tanh form is x sigmoid(x (LINEAR + CUBIC x^2)).
LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = 0.044715 * LINEAR


@keras.saving.register_keras_serializable("tfbert")
def gelu(inputs):
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016).

    The same function as `keras.activations.gelu(x, approximate=True)`, up to rounding, which is
    smaller in 16 bits: float32 inside, rounded once.

    Args:
        inputs: Floating tensor of any shape.
    """

    @with_gradient
    def activation(inputs):
        return _value(inputs), lambda upstream: _gradient(inputs, upstream)

    return activation(inputs)


@fused
def _value(inputs):
    x = ops.cast(inputs, "float32")
    return ops.cast(x * ops.sigmoid(x * (LINEAR + CUBIC * x * x)), inputs.dtype)


@fused
def _gradient(inputs, upstream):
    x = ops.cast(inputs, "float32")
    gate = ops.sigmoid(x * (LINEAR + CUBIC * x * x))
    slope = gate + x * gate * (1 - gate) * (LINEAR + 3 * CUBIC * x * x)
    return ops.cast(ops.cast(upstream, "float32") * slope, inputs.dtype)

"""Fast elementwise work: chains in one pass over memory, GELU, and activations computed again.

XLA compiles the chains under TensorFlow; under JAX and on TPUs the caller's step is compiled whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
from keras import ops

from tfbert.gradients import custom_gradient
from tfbert.types import Tensor
from tfbert.xla import compiled

# tanh(u) = 2 sigmoid(2u) - 1, so that the tanh form is x sigmoid(x (_LINEAR + _CUBIC x^2)).
_LINEAR = 2 * math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _LINEAR


def fused(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` of tensors, compiled by XLA unless the caller's step is compiled as a whole.

    TensorFlow alone runs each elementwise operation as a pass over memory of its own. XLA makes
    one of a chain of them, and keeps its intermediates in registers, in the dtype that the
    function asks for. Matrix products stay outside: on a CPU oneDNN's are faster than XLA's.

    Each shape is compiled once, in about 0.1 s. TensorFlow cannot differentiate the compiled
    function: call it inside of one with a gradient of its own. It may have no side effects.
    """
    return compiled(function, reduce_retracing=True)


def with_gradient(function: Callable[..., tuple[Tensor, Callable]]) -> Callable[..., Tensor]:
    """`function` with a gradient of its own, on backends where that saves work.

    Args:
        function: Of tensors; returns its output and a function from the output's gradient to
            those of the arguments.

    Returns:
        A function of the same tensors that returns the output. JAX differentiates it
        automatically: under `jax.jit` there is nothing to gain, and what the function encloses
        would leak from `jax.checkpoint`.
    """
    if keras.backend.backend() == "tensorflow":
        return custom_gradient(function)
    return lambda *tensors: function(*tensors)[0]


@keras.saving.register_keras_serializable("tfbert")
def gelu(inputs: Tensor) -> Tensor:
    """0.5 x (1 + erf(x / sqrt(2))): x times the normal distribution up to x.

    Hendrycks and Gimpel 2016; transformers' `gelu`. The same function as `keras.activations.gelu`,
    up to rounding, which is smaller in 16 bits: float32 inside, rounded once.
    """

    @with_gradient
    def activation(inputs):
        return _gelu_value(inputs), lambda upstream: _gelu_gradient(inputs, upstream)

    return activation(inputs)


@keras.saving.register_keras_serializable("tfbert")
def gelu_tanh(inputs: Tensor) -> Tensor:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016).

    Google's BERT; transformers' `gelu_new`. The same function as
    `keras.activations.gelu(x, approximate=True)`, up to rounding, which is smaller in 16 bits:
    float32 inside, rounded once.
    """

    @with_gradient
    def activation(inputs):
        return _gelu_tanh_value(inputs), lambda upstream: _gelu_tanh_gradient(inputs, upstream)

    return activation(inputs)


@fused
def _gelu_value(inputs):
    x = ops.cast(inputs, "float32")
    return ops.cast(x * _normal_distribution(x), inputs.dtype)


@fused
def _gelu_gradient(inputs, upstream):
    x = ops.cast(inputs, "float32")
    density = ops.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    slope = _normal_distribution(x) + x * density
    return ops.cast(ops.cast(upstream, "float32") * slope, inputs.dtype)


def _normal_distribution(x):
    return 0.5 + 0.5 * ops.erf(x * math.sqrt(0.5))


@fused
def _gelu_tanh_value(inputs):
    x = ops.cast(inputs, "float32")
    return ops.cast(x * ops.sigmoid(x * (_LINEAR + _CUBIC * x * x)), inputs.dtype)


@fused
def _gelu_tanh_gradient(inputs, upstream):
    x = ops.cast(inputs, "float32")
    gate = ops.sigmoid(x * (_LINEAR + _CUBIC * x * x))
    slope = gate + x * gate * (1 - gate) * (_LINEAR + 3 * _CUBIC * x * x)
    return ops.cast(ops.cast(upstream, "float32") * slope, inputs.dtype)


def rematerialized(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function`, computed again in the backward pass; only its arguments are kept.

    Less memory, one more forward pass (Chen et al. 2016).

    Args:
        function: Takes tensors, of any dtype, and returns one floating tensor. All that it reads
            must be an argument: what is not may be computed ahead of the backward pass, and kept.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)
    import tensorflow as tf

    # tf.recompute_grad would log a warning for every integer argument, seeds and masks.
    @custom_gradient
    def call(*tensors):
        def gradient(upstream):
            later = [tensor + tf.cast(_zero(upstream), tensor.dtype) for tensor in tensors]
            floating = [tensor for tensor in later if tensor.dtype.is_floating]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(floating)
                output = function(*later)
            found = iter(tape.gradient(output, floating, upstream))
            return [next(found) if tensor.dtype.is_floating else None for tensor in later]

        return function(*tensors), gradient

    return call


def _zero(upstream):
    """0, known only once `upstream` is: a data dependency that delays the recomputation.

    XLA does not respect control dependencies, and either compiler would merge equal work.
    """
    import tensorflow as tf

    first = tf.reduce_sum(tf.reshape(upstream, [-1])[:1])
    return tf.minimum(tf.abs(first), 0)

"""Dense layers and layer normalisation in fewer passes over memory, for bfloat16 on a CPU.

On a CPU with bfloat16 instructions the matrix products of a BERT take little more than half of a
step. The rest is passes over memory, of which Keras' layers make one for every operation: these
functions compute the same, up to rounding, with fewer (docs/speed.md).

Everywhere else they call Keras' layers: in float32, where the numbers stay the same bits, and on
GPUs, TPUs and JAX.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from tfbert.models.layers.kernels import fused, with_gradient
from tfbert.types import Tensor


def are_taken(dtype: str) -> bool:
    """Whether tensors of this dtype take the short forms, where a layer is traced now."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return (
        keras.backend.standardize_dtype(dtype) == "bfloat16"
        and not isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
        and not tf.config.list_logical_devices("GPU")
    )


def dense(layer: keras.layers.Dense, inputs: Tensor) -> Tensor:
    """`layer(inputs)`, of a built layer with a bias, for (batch, tokens, width)."""
    if not are_taken(inputs.dtype):
        return layer(inputs)
    output = product(ops.reshape(inputs, (-1, inputs.shape[-1])), layer.kernel, layer.bias)
    output = ops.reshape(output, (*ops.shape(inputs)[:2], layer.units))
    return output if layer.activation is None else layer.activation(output)


def product(rows: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """rows @ kernel + bias; of two dimensions, so that TensorFlow makes one operation of both.

    The bias' gradient, a sum over the rows, is a product as well, with a row of ones: TensorFlow's
    kernel for it runs on one core.

    Args:
        rows: (n, width).
        kernel: (width, units).
        bias: (units,).

    Returns:
        (n, units).
    """

    def plain(rows: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        return ops.add(ops.matmul(rows, kernel), bias)

    if not are_taken(rows.dtype):
        return plain(rows, kernel, bias)

    @with_gradient
    def with_short_gradient(rows: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Callable]:
        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            d_rows = ops.matmul(upstream, ops.transpose(kernel))
            d_kernel = ops.matmul(ops.transpose(rows), upstream)
            return d_rows, d_kernel, _sum_of_rows(upstream)

        return plain(rows, kernel, bias), gradient

    return with_short_gradient(rows, *(ops.cast(w, rows.dtype) for w in (kernel, bias)))


def normalized_sum(layer: keras.layers.LayerNormalization, x: Tensor, residual: Tensor) -> Tensor:
    """`layer(x + residual)`, of a built layer over the last axis; the sum is not rounded.

    As in Keras the layer's weights are float32 in mixed precision, too.
    The backward pass computes the sum again, so that it is not kept.
    """
    if not are_taken(x.dtype):
        return layer(x + residual)
    width = x.shape[-1]

    @with_gradient
    def normalized(
        x: Tensor, residual: Tensor, gamma: Tensor, beta: Tensor
    ) -> tuple[Tensor, Callable]:
        output, mean, inverse = _normalized(x, residual, gamma, beta, layer.epsilon)

        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            d_sum, scaled = _normalized_gradient(x, residual, gamma, mean, inverse, upstream)
            d_gamma, d_beta = (
                _float32(_sum_of_rows(ops.reshape(t, (-1, width)))) for t in (scaled, upstream)
            )
            return d_sum, d_sum, d_gamma, d_beta

        return output, gradient

    return normalized(x, residual, _float32(layer.gamma), _float32(layer.beta))


@fused
def _normalized(x, residual, gamma, beta, epsilon):
    """The output, and of every token the mean and 1 / deviation."""
    dtype = x.dtype
    x, residual = _float32(x), _float32(residual)
    total = x + residual
    mean = ops.mean(total, axis=-1, keepdims=True)
    centred = total - mean
    inverse = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + epsilon)
    return ops.cast(centred * inverse * gamma + beta, dtype), mean, inverse


@fused
def _normalized_gradient(x, residual, gamma, mean, inverse, upstream):
    """The gradient of the sum, and what summed over the tokens is that of gamma.

    Of y = gamma h + beta with h = (x - mean) / deviation (Ba et al. 2016):

        dh = gamma dy
        dx = (dh - mean(dh) - h mean(h dh)) / deviation
    """
    dtype = x.dtype
    x, residual, upstream = map(_float32, (x, residual, upstream))
    h = (x + residual - mean) * inverse
    d_h = gamma * upstream
    mean_of_product = ops.mean(h * d_h, axis=-1, keepdims=True)
    d_x = (d_h - ops.mean(d_h, axis=-1, keepdims=True) - h * mean_of_product) * inverse
    return ops.cast(d_x, dtype), ops.cast(upstream * h, dtype)


def _float32(tensor):
    return ops.cast(tensor, "float32")


def _sum_of_rows(rows):
    """(n, width) -> (width,), in float32 inside and rounded once."""
    ones = ops.ones((1, ops.shape(rows)[0]), rows.dtype)
    return ops.reshape(ops.matmul(ones, rows), (-1,))

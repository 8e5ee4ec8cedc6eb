"""Dropout whose masks come from 8 or 16 random bits an element instead of 32.

On a CPU, making random bits takes most of dropout's time. A mask needs few of them: an element is
dropped where its bits, read as an integer, are below a threshold.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfbert.models.layers.kernels import fused, with_gradient
from tfbert.types import Tensor


@keras.saving.register_keras_serializable("tfbert")
class Dropout(keras.layers.Layer):
    """Sets elements to 0 with probability `rate`, and scales the others (Srivastava et al. 2014).

    In training

        output = inputs * mask / keep_probability

    where each element of `mask` is 1 with probability `keep_probability`, independently, and else
    0. Outside of training, and at rate 0, the output is the input.

    Rates are multiples of 2^-bits: with 8 bits 0.1 becomes 26/256 = 0.1016, with 16 bits
    6554/65536 = 0.100006. Outputs are scaled by the rate that is used, so that their expectation
    is the input; the attribute `keep_probability` is that rate's complement.

    The mask is a function of the seed and the number of elements alone, the same with and without
    XLA. One seed is drawn a call, by `seed_generator.next()`.

    Args:
        rate: Fraction of the elements to drop, from 0 to below 1.
        bits: Random bits an element, 8 or 16. None takes 8, and 16 for a rate that 8 bits would
            change by more than 2 %, or its complement; 0.05, 0.1, ... 0.95 all take 8.
        seed: Integer, or None for a random one.

    Attributes:
        drops: False makes the layer the identity in training, too. Read when it is traced.

    Raises:
        ValueError: If the rate is out of range, or would round to 0 or 1.
    """

    drops = True

    def __init__(
        self, rate: float, bits: int | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.bits = bits = default_bits(rate) if bits is None else bits
        self.seed = seed
        # An element is dropped where its random bits are below this integer.
        self.threshold = drop_threshold(rate, bits)
        self.keep_probability = 1 - self.threshold / 2**bits
        self.supports_masking = True
        if self.threshold:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def draw_seed(self, training: bool) -> Tensor | None:
        """The seed of this call's mask; None where nothing is dropped."""
        return self.seed_generator.next() if training and self.threshold and self.drops else None

    def draw_mask(self, shape: tuple, seed: Tensor) -> Tensor:
        """Boolean tensor, True with `keep_probability`, where an element is kept.

        Args:
            shape: Tuple of integers and scalar tensors.
            seed: Integer tensor of shape (2,), from a `keras.random.SeedGenerator`.
        """
        drawn = _BACKENDS[keras.backend.backend()](shape, seed, self.bits)
        return ops.greater_equal(drawn, ops.cast(self.threshold, f"uint{self.bits}"))

    def drop(self, inputs: Tensor, seed: Tensor | None) -> Tensor:
        """Drops elements of `inputs`, floating and of any shape, by a seed from `draw_seed`."""
        if seed is None:
            return inputs
        # Outside of the function with the gradient: the mask is kept, one byte an element.
        mask = self.draw_mask(ops.shape(inputs), seed)

        @with_gradient
        def masked(inputs):
            return self._scaled(inputs, mask), lambda upstream: self._scaled(upstream, mask)

        return masked(inputs)

    def _scaled(self, values, mask):
        scale = ops.cast(1 / self.keep_probability, "float32")
        if values.dtype == scale.dtype:
            return ops.where(mask, values * scale, ops.cast(0, values.dtype))
        return _scaled_in_float32(values, mask, scale)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        return self.drop(inputs, self.draw_seed(training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "rate": self.rate, "bits": self.bits, "seed": self.seed}


@fused
def _scaled_in_float32(values, mask, scale):
    """Rounded once: in bfloat16 the scale alone would be off by a third of a percent."""
    scaled = ops.cast(ops.cast(values, "float32") * scale, values.dtype)
    return ops.where(mask, scaled, ops.cast(0, values.dtype))


def default_bits(rate: float) -> int:
    """The fewest random bits an element for a rate, and its complement, up to 2 %."""
    error = abs(round(rate * 2**8) / 2**8 - rate)
    return 8 if error <= 0.02 * min(rate, 1 - rate) else 16


def drop_threshold(rate: float, bits: int) -> int:
    """round(rate 2^bits); raises ValueError as `Dropout`."""
    if bits not in (8, 16):
        raise ValueError(f"bits={bits}: dropout masks are made from 8 or 16 bits an element")
    if not 0 <= rate < 1:
        raise ValueError(f"rate={rate}: a dropout rate is from 0 to below 1")
    threshold = round(rate * 2**bits)
    if (rate and not threshold) or threshold == 2**bits:
        remedy = "; try bits=16" if bits == 8 else ""
        raise ValueError(f"rate={rate}: rounds to {threshold >> bits} in {bits} bits{remedy}")
    return threshold


def _tensorflow_bits(shape, seed, bits):
    import tensorflow as tf

    count = tf.reduce_prod(tf.stack(shape))
    in_a_word = 32 // bits
    # XLA has no 64-bit seeds here, and Keras' generators count in 64 bits.
    seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
    # Named, because the default differs by device, and masks must not.
    words = tf.random.stateless_uniform(
        [(count + in_a_word - 1) // in_a_word], seed, None, None, tf.uint32, alg="philox"
    )
    drawn = tf.reshape(tf.bitcast(words, tf.dtypes.as_dtype(f"uint{bits}")), [-1])
    return tf.reshape(drawn[:count], shape)


def _jax_bits(shape, seed, bits):
    import jax

    return jax.random.bits(seed, shape, f"uint{bits}")


_BACKENDS = {"tensorflow": _tensorflow_bits, "jax": _jax_bits}

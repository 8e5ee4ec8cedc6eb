"""Dropout as a function of (seed, update, micro-batch, replica, layer), and of nothing else.

Keras' seed generators count their calls in a variable. Its copies on several replicas are equal, so
all replicas drop the same elements (keras-team/keras#20550 and others), and a run that is resumed,
or that recomputes activations, would draw other masks. While a step is traced, `stateless_dropout`
replaces the `next` of every generator of the model.
"""

import contextlib
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from tfbert.fit import keras_internals
from tfbert.types import Tensor


@contextlib.contextmanager
def stateless_dropout(model: keras.Model, key: Tensor) -> Iterator[None]:
    """Inside it, a seed generator of `model` returns a seed made of `key` and its layer's place.

    Args:
        key: (2,) int32 of `step_key`.
    """
    generators = keras_internals.seed_generators(model)
    if generators:
        seeds = ops.unstack(_layer_seeds(key, [place for place, _ in generators]))
        for (_, generator), seed in zip(generators, seeds, strict=True):
            generator.next = _draws(seed, generator.state.dtype)
    try:
        yield
    finally:
        for _, generator in generators:
            del generator.next


def step_key(
    seed: int, update: Tensor | int, micro_batch: Tensor | int, replica: Tensor | int
) -> Tensor:
    """The part of a seed that all layers share, from scalar int32 tensors or ints.

    Returns:
        (2,) int32: a hash of all but the update, and the update.
    """
    word = _mixed(ops.convert_to_tensor(seed & 0x7FFFFFFF, "int32"))
    for number in (replica, micro_batch):
        word = _mixed(word + ops.cast(number, "int32"))
    return ops.stack([word, ops.cast(update, "int32")])


def _draws(seed: Tensor, dtype: Any) -> Callable[..., Tensor]:
    """A generator's `next`: the seed, and for further draws in the same step others of its kind."""
    count = itertools.count()

    def draw(ordered: bool = True) -> Tensor:
        number = next(count)
        drawn = ops.stack([_mixed(seed[0] + number), seed[1]]) if number else seed
        return ops.cast(drawn, dtype)

    return draw


def _layer_seeds(key: Tensor, places: list[str]) -> Tensor:
    """(layers, 2) int32; two layers share a seed only where their places share a CRC-32."""
    checksums = [zlib.crc32(place.encode()) - 2**31 for place in places]
    words = _mixed(ops.bitwise_xor(key[0], ops.convert_to_tensor(checksums, "int32")))
    return ops.stack([words, ops.broadcast_to(key[1], (len(places),))], axis=1)


def _mixed(word: Tensor) -> Tensor:
    """A bijection of 32-bit words in which each bit of the input affects every bit of the output.

    The finalizer of MurmurHash3, in int32, because accelerators multiply it. Its right shift would
    keep the sign, hence the mask.
    """
    for shift, factor in ((16, -2048144789), (13, -1028477387), (16, 1)):
        high = ops.bitwise_and(ops.right_shift(word, shift), 2 ** (32 - shift) - 1)
        word = ops.bitwise_xor(word, high) * factor
    return word

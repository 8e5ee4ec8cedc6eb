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
import tensorflow as tf

from tfbert.fit import keras_internals


@contextlib.contextmanager
def stateless_dropout(model: keras.Model, key: tf.Tensor) -> Iterator[None]:
    """Inside it, a seed generator of `model` returns a seed made of `key` and its layer's place.

    Args:
        key: (2,) int32 of `step_key`.
    """
    generators = keras_internals.seed_generators(model)
    if generators:
        seeds = tf.unstack(_layer_seeds(key, [place for place, _ in generators]))
        for (_, generator), seed in zip(generators, seeds, strict=True):
            generator.next = _draws(seed, generator.state.dtype)
    try:
        yield
    finally:
        for _, generator in generators:
            del generator.next


def step_key(
    seed: int, update: tf.Tensor | int, micro_batch: tf.Tensor | int, replica: tf.Tensor | int
) -> tf.Tensor:
    """The part of a seed that all layers share, from scalar int32 tensors or ints.

    Returns:
        (2,) int32: a hash of all but the update, and the update.
    """
    word = _mixed(tf.constant(seed & 0x7FFFFFFF, tf.int32))
    for number in (replica, micro_batch):
        word = _mixed(word + tf.cast(number, tf.int32))
    return tf.stack([word, tf.cast(update, tf.int32)])


def _draws(seed: tf.Tensor, dtype: Any) -> Callable[..., tf.Tensor]:
    """A generator's `next`: the seed, and for further draws in the same step others of its kind."""
    count = itertools.count()

    def draw(ordered: bool = True) -> tf.Tensor:
        number = next(count)
        drawn = tf.stack([_mixed(seed[0] + number), seed[1]]) if number else seed
        return tf.cast(drawn, dtype)

    return draw


def _layer_seeds(key: tf.Tensor, places: list[str]) -> tf.Tensor:
    """(layers, 2) int32; two layers share a seed only where their places share a CRC-32."""
    checksums = [zlib.crc32(place.encode()) - 2**31 for place in places]
    words = _mixed(tf.bitwise.bitwise_xor(key[0], tf.constant(checksums, tf.int32)))
    return tf.stack([words, tf.fill([len(places)], key[1])], axis=1)


def _mixed(word: tf.Tensor) -> tf.Tensor:
    """A bijection of 32-bit words in which each bit of the input affects every bit of the output.

    The finalizer of MurmurHash3, in int32, because accelerators multiply it. Its right shift would
    keep the sign, hence the mask.
    """
    for shift, factor in ((16, -2048144789), (13, -1028477387), (16, 1)):
        high = tf.bitwise.bitwise_and(tf.bitwise.right_shift(word, shift), 2 ** (32 - shift) - 1)
        word = tf.bitwise.bitwise_xor(word, high) * factor
    return word

"""How batches that are made in Python go on their way to the devices: `numbered_batches`.

Under TensorFlow they go through `tf.data`. Under JAX they stay arrays of NumPy, `ArrayBatches`,
which `fit` reads ahead and puts on the devices.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """What is known of an array in every batch: its shape, None where that differs, and dtype."""

    shape: tuple[int | None, ...]
    dtype: str


def specs_of(batch: Any) -> Any:
    """The structure of a batch's arrays, of `ArraySpec`, where all batches are alike."""
    import keras

    return keras.tree.map_structure(lambda array: ArraySpec(array.shape, array.dtype.name), batch)


class ArrayBatches:
    """Batches of NumPy arrays, each made when it is asked for: what `fit` takes on JAX.

    Args:
        make: From the number of a batch to its structure of arrays.
        first: Number of the first one.
        cardinality: How many there are; None: no end.
        element_spec: The structure of a batch, of `ArraySpec`.
    """

    def __init__(
        self, make: Callable[[int], Any], first: int, cardinality: int | None, element_spec: Any
    ) -> None:
        self._make = make
        self._first = first
        self.cardinality = cardinality
        self.element_spec = element_spec

    def __iter__(self) -> Iterator[Any]:
        """The batches from the first one on."""
        if self.cardinality is None:
            return map(self._make, itertools.count(self._first))
        return map(self._make, range(self._first, self._first + self.cardinality))

    def __len__(self) -> int:
        if self.cardinality is None:
            raise TypeError("batches without end have no length")
        return self.cardinality


# What `numbered_batches` returns: a tf.data.Dataset, or under JAX `ArrayBatches`.
Batches: TypeAlias = Any


def numbered_batches(
    make: Callable[[int], Any], first: int, batches: int | None, signature: Any
) -> Batches:
    """`make(first)`, `make(first + 1)` and so on, as Keras' backend takes them.

    Args:
        make: From the number of a batch to its arrays. It lives as long as the result does.
        batches: How many there are; None: no end.
        signature: The structure of what `make` returns, of `ArraySpec`.

    Returns:
        A `tf.data.Dataset`; under JAX `ArrayBatches`.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        return _dataset(make, first, batches, signature)
    return ArrayBatches(make, first, batches, signature)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset without tf.data's autotuning, which has nothing to tune where Python makes batches.

    The tuning thread sleeps longer and longer, up to a minute, and deleting an iterator waits until
    it wakes (TensorFlow 2.20): ten seconds and more an evaluation.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class _Maker:
    """What makes the batches of a dataset, by number."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make


# What Python functions TensorFlow was given once, it keeps to the end of the process, and
# `Dataset.from_generator` gives it new ones with all that they refer to: texts, records. So it is
# given one function, which finds the batches here as long as their dataset lives.
_makers: weakref.WeakValueDictionary[int, _Maker] = weakref.WeakValueDictionary()
_keys = itertools.count()


def _dataset(
    make: Callable[[int], Any], first: int, batches: int | None, signature: Any
) -> tf.data.Dataset:
    import tensorflow as tf

    maker, key = _Maker(make), next(_keys)
    _makers[key] = maker
    specs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in tf.nest.flatten(signature)]
    loader = _loader(tuple(spec.dtype for spec in specs))

    def load(number: tf.Tensor) -> Any:
        arrays = zip(loader(key, number), specs, strict=True)
        shaped = [tf.ensure_shape(array, spec.shape) for array, spec in arrays]
        return tf.nest.pack_sequence_as(signature, shaped)

    end = tf.int64.max if batches is None else first + batches
    dataset = tf.data.Dataset.range(first, end).map(load)
    if batches is None:
        count = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        dataset = dataset.apply(count)
    dataset = untuned(dataset)
    dataset.maker = maker  # whatever uses the dataset holds it
    return dataset


@functools.cache
def _loader(dtypes: tuple[tf.DType, ...]) -> Callable[[int, tf.Tensor], list[tf.Tensor]]:
    """A graph that calls `_load`: traced once, for all datasets of such tensors."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)] * 2)
    def load(key: tf.Tensor, number: tf.Tensor) -> list[tf.Tensor]:
        return tf.numpy_function(_load, [key, number], dtypes)

    return load


def _load(key: np.int64, number: np.int64) -> list[np.ndarray]:
    import tensorflow as tf

    return tf.nest.flatten(_makers[int(key)].make(int(number)))

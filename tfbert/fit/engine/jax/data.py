"""Batches on their way to the devices: iterators over NumPy arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import keras
import numpy as np

from tfbert.fit import keras_internals
from tfbert.fit.batches.class_weights import check_batch, weighted_by_class
from tfbert.fit.engine.jax.reading import ReadAhead
from tfbert.hardware.jax_devices import JaxDevices

# What an iterator raises at the end of the data.
END_OF_DATA = (StopIteration,)
# In the place of a length that differs by batch, as JAX traces no slice of an unknown length.
_ANY_LENGTH = 2


class Feed:
    """Global batches; each `iter` begins anew, and reads ahead.

    Args:
        begin: Returns an iterator over the batches.
        like: Where it is known, a batch, or a structure of anything with its shapes and dtypes.
    """

    is_slow_to_free = False

    def __init__(
        self,
        begin: Callable[[], Iterator[Any]],
        class_weight: dict[int, float] | None,
        like: Any = None,
    ) -> None:
        self._begin = begin
        self._class_weight = class_weight
        self._like = like
        self._begun: Iterator[Any] | None = None  # an iterator of which the first batch was seen

    def __iter__(self) -> Iterator[Any]:
        iterator, self._begun = self._begun or self._begin(), None
        return ReadAhead(map(self._as_arrays, iterator))

    @property
    def spec(self) -> Any:
        """Structure of `keras.KerasTensor` as a batch, of any number of rows."""
        if self._like is None:
            iterator = self._begin()
            try:
                self._like = next(iterator)
            except StopIteration:
                raise ValueError("the data gave no batch") from None
            self._begun = itertools.chain([self._like], iterator)
        like = keras.tree.map_structure(_symbolic, self._like)
        if self._class_weight is not None:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(like)
            check_batch(y, sample_weight)
            like = x, y, keras.KerasTensor((None,), "float32")
        return like

    def check_shapes(self) -> None:
        """Nothing to check: each shape is compiled for."""

    def _as_arrays(self, batch: Any) -> Any:
        batch = keras.tree.map_structure(lambda a: None if a is None else np.asarray(a), batch)
        if self._class_weight is not None:
            batch = weighted_by_class(batch, self._class_weight)
        return batch


def source_feed(
    devices: JaxDevices, source: Any, place: tuple[int, int], class_weight: dict[int, float] | None
) -> Feed:
    """The batches of a `BatchSource` from an (epoch, step) on."""
    return _feed(source.dataset(*place), class_weight)


def adapter_feed(devices: JaxDevices, adapter: Any, class_weight: dict[int, float] | None) -> Feed:
    """An epoch of one of Keras' data adapters."""
    first = keras_internals.first_batch(adapter)
    return Feed(lambda: iter(adapter.get_numpy_iterator()), class_weight, first)


def ready_feed(
    devices: JaxDevices, x: Any, class_weight: dict[int, float] | None
) -> tuple[Feed, int | None]:
    """What `is_divided`, and its number of batches."""
    return _feed(x, class_weight), len(x)


def is_divided(x: Any) -> bool:
    """Whether `x` is data whose batches need no adapter of Keras': an iterable of them that has a
    length."""
    if hasattr(x, "shape") or isinstance(x, (list, tuple, dict, str, bytes)):
        return False
    is_iterable = hasattr(x, "__iter__") and hasattr(x, "__len__")
    return is_iterable and not keras_internals.is_known_dataset(x)


def is_batch_source(x: Any) -> bool:
    """Whether `x` is a `BatchSource` of this backend."""
    return hasattr(x, "steps_per_epoch") and hasattr(x, "dataset")


def _symbolic(array: Any) -> keras.KerasTensor | None:
    if array is None:
        return None
    array = array if hasattr(array, "shape") else np.asarray(array)
    dtype = jax.dtypes.canonicalize_dtype(np.dtype(array.dtype)).name  # no 64 bits
    shape = (_ANY_LENGTH if size is None else size for size in array.shape[1:])
    return keras.KerasTensor((None, *shape), dtype)


def _feed(batches: Iterable[Any], class_weight: dict[int, float] | None) -> Feed:
    return Feed(lambda: iter(batches), class_weight, getattr(batches, "element_spec", None))

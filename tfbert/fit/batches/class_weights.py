"""`class_weight` of `fit`: checked, and made the sample weights of every kind of data alike."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def checked_class_weights(class_weight: Any, model: keras.Model) -> dict[int, float] | None:
    """`class_weight`, as a user gave it, as `{class: weight}` of Python's numbers; None for None.

    Raises:
        ValueError: If it is not a dictionary from class numbers, which the model has (where its
            shapes are known), to numbers from 0 on.
    """
    if class_weight is None:
        return None
    classes = _classes(model)
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            "class_weight must be a dictionary such as {0: 1.0, 1: 5.0}, not a "
            f"{type(class_weight).__name__}: dict(enumerate(weights)) makes one of a list"
        )
    checked = {}
    for key, value in class_weight.items():
        try:
            number = operator.index(key)
        except TypeError:
            raise ValueError(
                f"class_weight: {key!r} is not a class number: the keys are whole numbers such as "
                "0 and 1 (JSON makes strings of them)"
            ) from None
        try:
            weight = float(value)
        except (TypeError, ValueError):
            weight = math.nan
        if isinstance(value, str) or not 0 <= weight < math.inf:
            raise ValueError(f"class_weight: {value!r} of class {key} is not a number from 0 on")
        if number < 0 or (classes is not None and number >= classes):
            known = "from 0 on" if classes is None else f"0 to {classes - 1}"
            raise ValueError(f"class_weight: there is no class {number}: classes are {known}")
        checked[number] = weight
    return checked


def _classes(model: keras.Model) -> int | None:
    """How many the model tells apart, two with one output; None where it is not known."""
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) > 1:
        raise ValueError(
            "class_weight is for a model with one output: give sample_weight, one for each output"
        )
    shape = outputs[0].shape if outputs else (None, None)
    if len(shape) > 2:
        raise ValueError(
            f"class_weight needs one class a row, not outputs of the shape {shape}: give "
            "sample_weight"
        )
    size = shape[-1] if len(shape) == 2 else 1
    return None if size is None else max(size, 2)


def weighted_by_class(batch: Any, class_weight: dict[int, float]) -> tuple[Any, Any, np.ndarray]:
    """A batch (x, y) of NumPy arrays as (x, y, weight of each row by its class).

    Other classes have the weight 1.

    Args:
        batch: y is (rows,) or (rows, 1) class numbers, or (rows, classes) one-hot.
        class_weight: Of `checked_class_weights`.

    Raises:
        ValueError: If there are sample weights already, no targets, or several outputs.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    check_batch(y, sample_weight)
    classes = y
    if y.ndim == 2:
        classes = y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
    table = _table(class_weight)
    classes = np.rint(classes).astype(np.int64)
    inside = (classes >= 0) & (classes < len(table) - 1)
    return x, y, table[np.where(inside, classes, len(table) - 1)]


def with_class_weights(dataset: tf.data.Dataset, class_weight: dict[int, float]) -> tf.data.Dataset:
    """`weighted_by_class` of every batch of a dataset."""
    import tensorflow as tf

    spec = dataset.element_spec
    parts = spec if isinstance(spec, tuple) else (spec,)
    weights = parts[2] if len(parts) > 2 else None
    if not any(hasattr(part, "dtype") for part in tf.nest.flatten(weights)):
        weights = None
    check_batch(parts[1] if len(parts) > 1 else None, weights)
    table = tf.constant(_table(class_weight))

    def weigh(x: Any, y: tf.Tensor, *_: Any) -> tuple[Any, tf.Tensor, tf.Tensor]:
        classes = y
        if y.shape.rank == 2:
            classes = y[:, 0] if y.shape[1] == 1 else tf.argmax(y, axis=1, output_type=tf.int32)
        if classes.dtype.is_floating:
            classes = tf.round(classes)
        classes = tf.cast(classes, tf.int32)
        inside = tf.logical_and(classes >= 0, classes < len(table) - 1)
        return x, y, tf.gather(table, tf.where(inside, classes, len(table) - 1))

    return dataset.map(weigh, num_parallel_calls=tf.data.AUTOTUNE)


def check_batch(y: Any, sample_weight: Any) -> None:
    """Raises ValueError where rows have no class each, or a weight already."""
    if y is None:
        raise ValueError("class_weight needs targets: give y")
    if sample_weight is not None:
        raise ValueError("class_weight and sample_weight cannot both weigh a row: give one of them")
    if keras.tree.is_nested(y):
        raise ValueError(
            "class_weight is for a model with one output: give sample_weight, one for each output"
        )
    if len(y.shape) not in (1, 2):
        raise ValueError(
            f"class_weight needs one class a row, not targets of the shape {y.shape}: give "
            "sample_weight"
        )


def _table(class_weight: dict[int, float]) -> np.ndarray:
    """(classes + 1,) float32 weights; the last is that of all further classes."""
    numbers = range(max(class_weight, default=0) + 1)
    return np.array([*(class_weight.get(number, 1.0) for number in numbers), 1.0], np.float32)

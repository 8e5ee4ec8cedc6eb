"""Raw samples of KerasHub's tasks, such as texts: prepared batch by batch, as KerasHub does it.

KerasHub's `PipelineModel` does this in its own `fit`, which `DistributedTrainer` replaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfbert.fit import engine, keras_internals

if TYPE_CHECKING:
    pass

_DEFAULT_BATCH = 32


def preprocessed(model: keras.Model, x: Any, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """The data of `fit`, `evaluate` or `predict` after the model's `preprocess_samples`.

    As in KerasHub a tuple or a dictionary is several fields, and a list one field: `(first,
    second)` are pairs of texts. Unlike there, arrays are shuffled where `shuffle` says so.

    Args:
        model: Any model; where it is no KerasHub task, or one without a preprocessor, nothing is
            changed. Nor is a `BatchSource` or a distributed dataset: its batches are prepared.
        arguments: y, sample_weight, batch_size and shuffle as in Keras, and any others.

    Returns:
        (x, arguments) with a `tf.data.Dataset` of prepared batches as x.

    Raises:
        ValueError: If the samples are no arrays, lists or `tf.data.Dataset`; if a text is none.
    """
    if not takes_raw_samples(model) or engine.is_batch_source(x) or engine.is_divided(x):
        return x, arguments
    parts = {name: arguments.pop(name, None) for name in ("y", "sample_weight", "batch_size")}
    shuffle = arguments.pop("shuffle", False)
    is_dataset = keras_internals.is_tf_dataset(x)
    if is_dataset and (given := [name for name, part in parts.items() if part is not None]):
        raise ValueError(f"{given[0]}: a tf.data.Dataset has its own")
    if keras.backend.backend() == "jax":
        return _PreparedArrays(model, x, is_dataset, **parts, shuffle=shuffle), arguments
    import tensorflow as tf

    dataset = x if is_dataset else _in_batches(x, **parts, shuffle=shuffle)
    dataset = dataset.map(model.preprocess_samples, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE), arguments


def divided_for_validation(
    model: keras.Model, data: tuple[Any, Any, Any], share: float
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """(x, y, sample_weight) of all but the last `share` of the rows, and of those."""
    if not takes_raw_samples(model):
        return keras_internals.split_arrays(data, share)
    if keras.backend.backend() != "jax":
        return keras_internals.split_arrays(_tensors(data), share)
    arrays = _arrays(data)
    # Keras divides numbers alone.
    training, _ = keras_internals.split_arrays(np.arange(len(keras.tree.flatten(arrays)[0])), share)
    parts = slice(len(training)), slice(len(training), None)
    first, second = (
        keras.tree.map_structure(lambda a: None if a is None else a[part], arrays)  # noqa: B023
        for part in parts
    )
    return first, second


def takes_raw_samples(model: keras.Model) -> bool:
    """Whether it is a KerasHub task, and not one without a preprocessor, of word pieces."""
    is_task = getattr(model, "preprocess_samples", None) is not None
    return is_task and getattr(model, "preprocessor", True) is not None


def one_batch(*parts: Any) -> Any:
    """Data of one batch: (x, y, sample_weight), shortened where the last are None."""
    if keras.backend.backend() == "jax":
        return _OneBatch(parts)
    import tensorflow as tf

    parts = tuple(_tensors(part) for part in parts if part is not None)
    return tf.data.Dataset.from_tensors(parts if len(parts) > 1 else parts[0])


def _in_batches(x, y, sample_weight, batch_size, shuffle):
    import tensorflow as tf

    rows = _tensors(keras.utils.pack_x_y_sample_weight(x, y, sample_weight))
    sizes = {part.shape[0] if part.shape.rank else None for part in tf.nest.flatten(rows)}
    if len(sizes) != 1 or None in sizes:
        raise ValueError(f"x, y and sample_weight must have as many rows as another: {sizes}")
    dataset = tf.data.Dataset.from_tensor_slices(rows)
    if shuffle:
        dataset = dataset.shuffle(max(1, sizes.pop()))
    return dataset.batch(batch_size or _DEFAULT_BATCH)


def _tensors(fields: Any) -> Any:
    """The fields as tensors; a list, an array or a pandas column is one."""
    import tensorflow as tf

    if isinstance(fields, tuple):
        return tuple(map(_tensors, fields))
    if isinstance(fields, dict):
        return {name: _tensors(field) for name, field in fields.items()}
    if fields is None or isinstance(fields, (tf.Tensor, tf.RaggedTensor, tf.SparseTensor)):
        return fields
    values = fields if isinstance(fields, list) else _array(fields)
    _check_texts(values)
    return tf.convert_to_tensor(values)


def _array(field: Any) -> np.ndarray:
    """An array, or what can be one, as an array of NumPy."""
    if not hasattr(field, "__array__"):
        kind = type(field).__name__
        raise ValueError(f"{kind}: give arrays, lists or a tf.data.Dataset of raw samples")
    return keras.ops.convert_to_numpy(field)


def _check_texts(values):
    """Raises ValueError where some are texts and one is not, such as a missing value."""
    if not isinstance(values, list) and values.dtype.kind != "O":
        return
    is_text = [isinstance(value, (str, bytes)) for value in values]
    if any(is_text) and not all(is_text):
        position = is_text.index(False)
        raise ValueError(f"text {position} is {values[position]!r}: it must be a string")


class _OneBatch:
    """An iterable of one batch, under JAX."""

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self._batch = tuple(part for part in parts if part is not None)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        yield self._batch


class _PreparedArrays:
    """An iterable of prepared batches of NumPy arrays, under JAX; shuffled anew each time.

    Args:
        is_dataset: Whether x gives batches of samples itself.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        is_dataset: bool,
        y: Any,
        sample_weight: Any,
        batch_size: int | None,
        shuffle: bool,
    ) -> None:
        self._prepare = model.preprocess_samples
        self._samples = x
        self._shuffle = shuffle
        self._batch_size: int | None = None
        if not is_dataset:
            self._samples = _arrays(keras.utils.pack_x_y_sample_weight(x, y, sample_weight))
            rows = {len(part) for part in keras.tree.flatten(self._samples)}
            if len(rows) != 1:
                raise ValueError(
                    f"x, y and sample_weight must have as many rows as another: {rows}"
                )
            self._rows = rows.pop()
            self._batch_size = batch_size or _DEFAULT_BATCH
        if shuffle:
            # Drawn here: a thread that reads ahead has a generator of Keras' of its own.
            seed = keras.ops.convert_to_numpy(keras.random.randint((), 0, 2**31 - 1))
            self._random = np.random.default_rng(int(seed))

    def __len__(self) -> int:
        if self._batch_size is None:
            return len(self._samples)
        return -(-self._rows // self._batch_size)

    def __iter__(self) -> Iterator[Any]:
        for samples in self._batches():
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(samples)
            yield keras.tree.map_structure(np.asarray, self._prepare(x, y, sample_weight))

    def _batches(self) -> Iterator[Any]:
        if self._batch_size is None:
            yield from self._samples
            return
        order = np.arange(self._rows)
        if self._shuffle:
            self._random.shuffle(order)
        for begin in range(0, self._rows, self._batch_size):
            rows = order[begin : begin + self._batch_size]
            yield keras.tree.map_structure(lambda part: part[rows], self._samples)  # noqa: B023


def _arrays(fields: Any) -> Any:
    """The fields as arrays of NumPy; a list, an array or a pandas column is one."""
    if isinstance(fields, tuple):
        return tuple(map(_arrays, fields))
    if isinstance(fields, dict):
        return {name: _arrays(field) for name, field in fields.items()}
    if fields is None:
        return None
    values = fields if isinstance(fields, list) else _array(fields)
    _check_texts(values)
    return np.asarray(values)

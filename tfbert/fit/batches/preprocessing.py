"""Raw samples of KerasHub's tasks, such as texts: prepared batch by batch, as KerasHub does it.

KerasHub's `PipelineModel` does this in its own `fit`, which `DistributedTrainer` replaces.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfbert.fit.batches.epoch_data import BatchSource

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
    is_ready = isinstance(x, (BatchSource, tf.distribute.DistributedDataset))
    if is_ready or not takes_raw_samples(model):
        return x, arguments
    parts = {name: arguments.pop(name, None) for name in ("y", "sample_weight", "batch_size")}
    shuffle = arguments.pop("shuffle", False)
    if isinstance(x, tf.data.Dataset):
        if given := [name for name, part in parts.items() if part is not None]:
            raise ValueError(f"{given[0]}: a tf.data.Dataset has its own")
        dataset = x
    else:
        dataset = _in_batches(x, **parts, shuffle=shuffle)
    dataset = dataset.map(model.preprocess_samples, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE), arguments


def sliceable(model: keras.Model, data: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) in a form that Keras can split, also where x is texts."""
    return _tensors(data) if takes_raw_samples(model) else data


def takes_raw_samples(model: keras.Model) -> bool:
    """Whether it is a KerasHub task, and not one without a preprocessor, of word pieces."""
    is_task = getattr(model, "preprocess_samples", None) is not None
    return is_task and getattr(model, "preprocessor", True) is not None


def one_batch(*parts: Any) -> tf.data.Dataset:
    """A dataset of one batch: (x, y, sample_weight), shortened where the last are None."""
    parts = tuple(_tensors(part) for part in parts if part is not None)
    return tf.data.Dataset.from_tensors(parts if len(parts) > 1 else parts[0])


def _in_batches(x, y, sample_weight, batch_size, shuffle):
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
    if isinstance(fields, tuple):
        return tuple(map(_tensors, fields))
    if isinstance(fields, dict):
        return {name: _tensors(field) for name, field in fields.items()}
    if fields is None or isinstance(fields, (tf.Tensor, tf.RaggedTensor, tf.SparseTensor)):
        return fields
    if not isinstance(fields, list) and not hasattr(fields, "__array__"):
        kind = type(fields).__name__
        raise ValueError(f"{kind}: give arrays, lists or a tf.data.Dataset of raw samples")
    values = fields if isinstance(fields, list) else keras.ops.convert_to_numpy(fields)
    if isinstance(values, list) or values.dtype.kind == "O":
        _check_texts(values)
    return tf.convert_to_tensor(values)


def _check_texts(values):
    """Raises ValueError where some are texts and one is not, such as a missing value."""
    is_text = [isinstance(value, (str, bytes)) for value in values]
    if any(is_text) and not all(is_text):
        position = is_text.index(False)
        raise ValueError(f"text {position} is {values[position]!r}: it must be a string")

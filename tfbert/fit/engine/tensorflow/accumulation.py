"""A replica's rows in micro-batches, one after another."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfbert.fit.engine.tensorflow.division import rows_of_part

Sums = list[tf.Tensor | None]


def parts_of_replica(model: keras.Model) -> int:
    """Number of micro-batches that a replica's part of the batch is divided into."""
    return model.accumulate_steps


def over_micro_batches(
    function: Callable[[Any, tf.Tensor], tuple[Sums, Any]],
    data: Any,
    parts: int,
    shapes: Sequence[Any],
    keeps_rows: bool,
    written: Sequence[keras.Variable],
) -> tuple[Sums, Any]:
    """Calls a function for each micro-batch of the data, and adds up what it returns.

    Args:
        function: Of a micro-batch and its number, a scalar int32 tensor. It returns a list of
            tensors or None, to be added up, and a structure of (rows, ...), to be joined.
        data: Structure of tensors of the same number of rows, and None.
        parts: Number of micro-batches.
        shapes: Of what is added up; the sums are float32.
        keeps_rows: Whether there is something to join; else the structure must be an empty list.
        written: All variables that the function may assign to.

    Returns:
        The sums, None where the function returns None, and the structure for all rows.
    """
    none = [False] * len(shapes)

    def add_next(index: tf.Tensor, totals: list) -> tuple[tf.Tensor, list, Any]:
        rows = keras.tree.map_structure(lambda tensor: rows_of_part(tensor, index, parts), data)
        values, kept = function(rows, index)
        none[:] = [value is None for value in values]
        totals = [t if v is None else t + v for t, v in zip(totals, values, strict=True)]
        return index + 1, totals, kept

    index, totals = tf.zeros((), tf.int32), [tf.zeros(shape, tf.float32) for shape in shapes]
    structure: Any = []
    arrays: list[tf.TensorArray] = []
    if keeps_rows:
        # The first one outside of the loop: it tells the dtypes.
        index, totals, structure = add_next(index, totals)
        for tensor in keras.tree.flatten(structure):
            shape = tf.TensorShape([None, *tensor.shape[1:]])
            array = tf.TensorArray(tensor.dtype, parts, element_shape=shape, infer_shape=False)
            arrays.append(array.write(0, tensor))

    def advance(index: tf.Tensor, totals: list, arrays: list) -> tuple[tf.Tensor, list, list]:
        after, totals, kept = add_next(index, totals)
        rows = keras.tree.flatten(kept)
        arrays = [a.write(index, t) for a, t in zip(arrays, rows, strict=True)]
        return after, totals, arrays

    # One at a time: a second micro-batch in flight would need its activations as well.
    _, totals, arrays = tf.while_loop(
        lambda index, *_: index < parts, advance, (index, totals, arrays), parallel_iterations=1
    )
    joined = keras.tree.pack_sequence_as(structure, [array.concat() for array in arrays])
    return [None if n else t for n, t in zip(none, totals, strict=True)], joined

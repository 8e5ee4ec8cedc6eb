"""A batch in parts: a global batch among the replicas, a replica's rows among its micro-batches."""

from typing import Any

import keras
import tensorflow as tf


def divide_among_replicas(
    strategy: tf.distribute.Strategy, dataset: tf.data.Dataset
) -> tf.distribute.DistributedDataset:
    """Divides every global batch among the replicas in contiguous parts, in their order.

    `experimental_distribute_dataset` would do much the same, but it divides by files on several
    workers, and leaves the replicas out of step at an uneven end. Here every replica has a part of
    every batch, if need be one of 0 rows.

    Args:
        dataset: `tf.data.Dataset` of global batches, the same on every worker.
    """
    replicas = strategy.num_replicas_in_sync

    def parts_of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        if replicas == 1:
            return dataset.prefetch(tf.data.AUTOTUNE)
        count = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * count
        parts = dataset.flat_map(
            lambda *batch: tf.data.Dataset.range(first, first + count).map(
                lambda part: keras.tree.map_structure(
                    lambda tensor: rows_of_part(tensor, part, replicas),
                    batch if isinstance(dataset.element_spec, tuple) else batch[0],
                )
            )
        )
        return parts.prefetch(2 * count)

    return strategy.distribute_datasets_from_function(parts_of_worker)


def rows_of_part(tensor: Any, index: tf.Tensor, parts: int) -> Any:
    """Rows of part `index` of a batch; where they do not divide evenly, the last parts get fewer.

    A number of rows that is known and divides evenly stays known.

    Args:
        tensor: (rows, ...), sparse and ragged ones as well, or None where there are no sample
            weights.
        index: Scalar int32 or int64 tensor.
    """
    if tensor is None:
        return None
    if isinstance(tensor, tf.SparseTensor):
        rows, others = tensor.dense_shape[:1], tensor.dense_shape[1:]
        size = -(-rows // parts)
        begin = tf.concat([tf.cast(index, tf.int64) * size, tf.zeros_like(others)], 0)
        part = tf.sparse.slice(tensor, begin, tf.concat([size, others], 0))
        part.set_shape([None, *tensor.shape[1:]])
        return part
    if isinstance(tensor, tf.RaggedTensor):
        size = -(-tensor.nrows(index.dtype) // parts)
        return tensor[index * size : (index + 1) * size]
    rows = tensor.shape[0]
    if rows is not None and rows % parts == 0:
        size = rows // parts
        # A slice of constant size: XLA compiles no other.
        others = tf.shape(tensor, index.dtype)[1:]
        part = tf.slice(
            tensor,
            tf.concat([[index * size], tf.zeros_like(others)], 0),
            tf.concat([[size], others], 0),
        )
        return tf.ensure_shape(part, [size, *tensor.shape[1:]])
    size = -(-tf.shape(tensor, index.dtype)[0] // parts)
    return tf.ensure_shape(tensor[index * size : (index + 1) * size], [None, *tensor.shape[1:]])

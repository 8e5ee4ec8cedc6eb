"""Batches on their way to the replicas: `tf.data` pipelines, divided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfbert.fit.batches.class_weights import with_class_weights
from tfbert.fit.engine.tensorflow.division import divide_among_replicas

# What an iterator raises at the end of the data.
END_OF_DATA = (StopIteration, tf.errors.OutOfRangeError)


class Feed:
    """Batches, divided among the replicas; each `iter` begins anew.

    Args:
        dataset: Distributed already.
        is_slow_to_free: Whether tf.data tunes the dataset, see `Reading`.
    """

    def __init__(
        self,
        dataset: tf.distribute.DistributedDataset,
        strategy: Any,
        is_slow_to_free: bool = True,
    ) -> None:
        self._dataset = dataset
        self._strategy = strategy
        self.is_slow_to_free = is_slow_to_free

    def __iter__(self) -> Iterator[Any]:
        return iter(self._dataset)

    @property
    def spec(self) -> Any:
        """Structure of `keras.KerasTensor` as one replica's part of a batch."""

        def symbolic(spec: Any) -> keras.KerasTensor | None:
            spec = getattr(spec, "_value_specs", (spec,))[0]  # one replica's, where it is divided
            if isinstance(spec, tf.experimental.Optional) or not hasattr(spec, "dtype"):
                return None
            return keras.KerasTensor(tuple(spec.shape), spec.dtype.name)

        return tf.nest.map_structure(symbolic, self._dataset.element_spec)

    def check_shapes(self) -> None:
        """Raises ValueError where a TPU, which compiles for one shape, would get several."""
        if isinstance(self._strategy, tf.distribute.TPUStrategy):
            for tensor in keras.tree.flatten(self.spec):
                if None in tensor.shape:
                    raise ValueError(
                        f"a TPU needs batches of one shape, not {tensor.shape}: batch the dataset "
                        "with drop_remainder=True"
                    )


def source_feed(
    strategy: tf.distribute.Strategy,
    source: Any,
    place: tuple[int, int],
    class_weight: dict[int, float] | None,
) -> Feed:
    """The batches of a `BatchSource` from an (epoch, step) on."""
    return _divided(strategy, source.dataset(*place), class_weight)


def adapter_feed(
    strategy: tf.distribute.Strategy, adapter: Any, class_weight: dict[int, float] | None
) -> Feed:
    """An epoch of one of Keras' data adapters."""
    return _divided(strategy, adapter.get_tf_dataset(), class_weight)


def ready_feed(
    strategy: tf.distribute.Strategy, x: Any, class_weight: dict[int, float] | None
) -> tuple[Feed, int | None]:
    """What `is_divided`, and its number of batches, or None.

    Raises:
        ValueError: If there are class weights.
    """
    size = int(x.cardinality)
    if class_weight is not None:
        raise ValueError("class_weight: give a dataset that is not distributed yet")
    return Feed(x, strategy), size if size >= 0 else None


def is_divided(x: Any) -> bool:
    """Whether `x` is data whose batches need no adapter of Keras'."""
    return isinstance(x, tf.distribute.DistributedDataset)


def is_batch_source(x: Any) -> bool:
    """Whether `x` is a `BatchSource` of this backend."""
    return hasattr(x, "steps_per_epoch") and hasattr(x, "dataset")


def _divided(
    strategy: tf.distribute.Strategy,
    dataset: tf.data.Dataset,
    class_weight: dict[int, float] | None,
) -> Feed:
    if class_weight is not None:
        dataset = with_class_weights(dataset, class_weight)
    is_tuned = dataset.options().autotune.enabled is not False
    return Feed(divide_among_replicas(strategy, dataset), strategy, is_tuned)

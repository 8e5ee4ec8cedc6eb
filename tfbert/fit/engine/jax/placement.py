"""Batches of NumPy arrays, and where their rows go."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from tfbert.fit.engine.jax.state import put
from tfbert.hardware.jax_devices import JaxDevices


def alike(batches: Sequence[Any]) -> Iterator[list[Any]]:
    """The batches in groups of those that follow each other and have the same shapes."""
    for _, group in itertools.groupby(batches, shapes_of):
        yield list(group)


def shapes_of(batch: Any) -> tuple:
    """Shape and dtype of each array of a batch, and what holds them."""
    arrays = keras.tree.flatten(batch)
    kinds = tuple(None if a is None else (np.shape(a), str(a.dtype)) for a in arrays)
    return jax.tree.structure(batch), kinds


def divides(batch: Any, devices: JaxDevices) -> bool:
    """Whether there are several devices, and as many rows for each."""
    count = devices.num_replicas_in_sync
    return count > 1 and all(
        np.shape(array)[0] % count == 0 for array in keras.tree.flatten(batch) if array is not None
    )


def put_batch(batch: Any, devices: JaxDevices, axes: Sequence[str | None]) -> Any:
    """A global batch on the devices, its array's axes divided along those of the mesh."""
    sharding = devices.replicated
    if devices.num_replicas_in_sync > 1:
        sharding = NamedSharding(devices.mesh, PartitionSpec(*axes))
    return keras.tree.map_structure(
        lambda array: None if array is None else put(array, devices, sharding), batch
    )

"""Devices that are not there, as a program for a whole slice of a TPU is traced for."""

from __future__ import annotations

from typing import Any

import jax
import keras
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from tfbert.hardware.jax_devices import AXIS, JaxDevices


class AbstractDevices(JaxDevices):
    """So many cores of a TPU: nothing can be put on them, and nothing runs.

    Args:
        cores: How many.
    """

    def __init__(self, cores: int) -> None:
        super().__init__(jax.local_devices(backend="cpu")[:1])  # where the weights are made
        self._cores = cores
        self.mesh: Any = AbstractMesh((cores,), (AXIS,))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())

    @property
    def num_replicas_in_sync(self) -> int:
        return self._cores

    @property
    def platform(self) -> str:
        return "tpu"

    def export(self, function: Any, batch: Any) -> jax.export.Exported:
        """A step of `fit` on these devices, lowered for TPUs.

        Args:
            function: A model's `make_train_function`.
            batch: A global batch, of which shapes and dtypes alone are looked at.
        """
        rows = NamedSharding(self.mesh, PartitionSpec(AXIS))
        program, (written, read) = function.program_of(AXIS if self._cores > 1 else None)
        data = keras.tree.map_structure(lambda array: _like(array, rows), batch)
        arguments = [[_like(v, self.replicated) for v in group] for group in (written, read)]
        count = jax.ShapeDtypeStruct((), "int32", sharding=self.replicated)
        return jax.export.export(program, platforms=["tpu"])(*arguments, data, count)


def _like(array: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(array.shape), str(array.dtype), sharding=sharding)

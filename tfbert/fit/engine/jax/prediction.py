"""The function behind `predict`, and its outputs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import PartitionSpec

from tfbert.fit.engine.jax.functional import stateless
from tfbert.fit.engine.jax.placement import put_batch, shapes_of
from tfbert.hardware.jax_devices import AXIS
from tfbert.optimizers import backend, reduction

# A batch is filled up to a size that is compiled already, if that is at most so many times as
# large: to compile another program takes longer.
_FILLED = 8


def make_predict_function(model: keras.Model) -> Callable[[Any], Any]:
    """The function behind `predict`: a `Prediction`."""
    return Prediction(model)


class Prediction:
    """A function of an iterator over batches; it returns the outputs of one batch, NumPy arrays.

    Attributes:
        compilations: How many programs there are.
    """

    def __init__(self, model: keras.Model) -> None:
        self.compilations = 0
        self._model = model
        self._devices = model.distribute_strategy
        self._variables = [*model.variables, *model.outside_variables]
        self._rows: dict[Any, set[int]] = {}  # by what else is known of the shapes
        several = self._devices.num_replicas_in_sync > 1 and not model.run_eagerly
        self._axis = AXIS if several else None
        self._program = self._compiled()

    def __call__(self, iterator: Iterator[Any]) -> Any:
        return self.of_batch(next(iterator))

    def of_batch(self, batch: Any) -> Any:
        """The outputs of one batch in the order of its rows."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        rows = len(keras.tree.flatten(x)[0])
        size = self._size(x, rows)
        x = keras.tree.map_structure(lambda array: _filled(np.asarray(array), size), x)
        x = put_batch(x, self._devices, [self._axis])
        values = self._model.device_state.take(self._variables)
        with jax.disable_jit(self._model.run_eagerly):
            outputs = self._program(values, x)
        return jax.tree.map(lambda output: np.asarray(output)[:rows], outputs)

    def _size(self, x: Any, rows: int) -> int:
        """Rows to compute for a batch of so many."""
        replicas = self._devices.num_replicas_in_sync
        others = shapes_of(keras.tree.map_structure(lambda array: np.asarray(array)[0], x))
        known = self._rows.setdefault(others, set())
        fitting = [size for size in known if rows <= size <= _FILLED * max(rows, replicas)]
        size = min(fitting, default=max(1, -(-rows // replicas)) * replicas)
        known.add(size)
        return size

    def _compiled(self) -> Callable[..., Any]:
        def on_replica(values: list[jax.Array], x: Any) -> Any:
            self.compilations += 1
            with backend.replicas_along(self._axis):
                _, outputs = stateless(self._variables, self._model)(values, x, training=False)
                flat, structure = jax.tree.flatten(outputs)
                return jax.tree.unflatten(structure, reduction.rows_of_replicas(flat))

        call: Callable[..., Any] = on_replica
        if self._axis is not None:
            call = jax.shard_map(
                call,
                mesh=self._devices.mesh,
                in_specs=(PartitionSpec(), PartitionSpec(self._axis)),
                out_specs=PartitionSpec(),
                check_vma=False,
            )
        return jax.jit(call)


def concatenated(batches: Sequence[Any]) -> Any:
    """The outputs of several batches as one, at least one batch.

    Raises:
        ValueError: If their inner shapes differ.
    """
    shapes = {output.shape[1:] for batch in batches for output in keras.tree.flatten(batch)[:1]}
    if len(shapes) > 1:
        raise ValueError(
            f"predict: outputs of the shapes {sorted(shapes)} cannot be one array: give batches "
            "of one length"
        )
    return keras.tree.map_structure(lambda *outputs: np.concatenate(outputs), *batches)


def _filled(array: np.ndarray, rows: int) -> np.ndarray:
    """An array with copies of its first row until there are `rows`."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array

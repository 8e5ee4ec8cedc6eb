"""Runs steps on all devices, several in a call."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import PartitionSpec

from tfbert.fit import replica_metrics
from tfbert.fit.engine.jax.functional import assign, stateless, values_of
from tfbert.fit.engine.jax.placement import alike, divides, put_batch
from tfbert.hardware.jax_devices import AXIS
from tfbert.optimizers import backend, reduction


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as it is: the whole step is compiled."""
    return function


def run_steps(
    model: keras.Model,
    step: Callable[[Any], None],
    results: Callable[[], Any],
    written: Sequence[keras.Variable],
) -> Callable[[Any, int, bool], tuple[Any, int]]:
    """A function that runs `step` on every device, several times in one call.

    Args:
        model: A compiled `DistributedTrainer`.
        step: Function of one replica's batch.
        results: Called after the last step; it returns a structure of tensors.
        written: All variables that `step` may assign to.

    Returns:
        A `Steps`.
    """
    return Steps(model, step, results, written)


class Steps:
    """A function of an iterator over batches, a number of steps, and whether they are sure.

    It returns (results, number of steps done); the data may end between the steps or before the
    first. Batches are compiled for by their shapes: one program for all numbers of steps.

    Attributes:
        compilations: How many programs there are.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Callable[[Any], None],
        results: Callable[[], Any],
        written: Sequence[keras.Variable],
    ) -> None:
        self.compilations = 0
        self._model = model
        self._step = step
        self._results = results
        self._devices = model.distribute_strategy
        self._size = model.steps_per_execution
        self._written = list({id(v): v for v in written}.values())
        ids = {id(v) for v in self._written}
        known = (*model.variables, *model.outside_variables)
        self._read = [v for v in known if id(v) not in ids]
        self._metrics = list(model.metrics_variables)
        self._programs = {axis: self._program(axis) for axis in (AXIS, None)}

    def __call__(self, iterator: Iterator[Any], steps: int, is_sure: bool) -> tuple[Any, int]:
        batches = list(itertools.islice(iterator, steps))
        logs = None
        for group in alike(batches):
            logs = self._run(group)
        return logs, len(batches)

    def lower(self, batches: Sequence[Any]) -> Any:
        """The program of some batches of one shape, `jax.stages.Lowered`."""
        program, arguments = self._prepared(batches)
        return program.lower(*arguments)

    def program_of(self, axis: str | None) -> tuple[Any, tuple[list, list]]:
        """The jitted function for batches that are divided along an axis, or not, and the variables
        that it writes and that it only reads: its first two arguments, before batch and count."""
        return self._programs[axis], (self._written, self._read)

    def _run(self, batches: Sequence[Any]) -> Any:
        state = self._model.device_state
        program, arguments = self._prepared(batches)
        with jax.disable_jit(self._model.run_eagerly):
            new, logs = program(*arguments)
        state.give(self._written, new)
        return logs

    def _prepared(self, batches: Sequence[Any]) -> tuple[Any, tuple]:
        """A program and its arguments."""
        count, state = np.int32(len(batches)), self._model.device_state
        is_divided = divides(batches[0], self._devices) and not self._model.run_eagerly
        axis = AXIS if is_divided else None
        if self._size == 1:
            data = put_batch(batches[0], self._devices, [axis])
        else:
            # Filled up, with what is not looked at.
            filled = [*batches, *[batches[-1]] * (self._size - len(batches))]
            data = keras.tree.map_structure(
                lambda *parts: None if parts[0] is None else np.stack(parts), *filled
            )
            data = put_batch(data, self._devices, [None, axis])
        values = state.take(self._written), state.take(self._read)
        return self._programs[axis], (*values, data, count)

    def _program(self, axis: str | None) -> Any:
        """The jitted function, for batches that are divided along an axis, or not."""
        call: Callable[..., Any] = functools.partial(self._on_replica, axis)
        if axis is not None:
            rows = PartitionSpec(*([None] if self._size > 1 else []), axis)
            everywhere = PartitionSpec()
            call = jax.shard_map(
                call,
                mesh=self._devices.mesh,
                in_specs=(everywhere, everywhere, rows, everywhere),
                out_specs=everywhere,
                # Else each gradient would be summed over the devices where it is taken.
                check_vma=False,
            )
        return jax.jit(call, donate_argnums=0, out_shardings=self._devices.replicated)

    def _on_replica(
        self,
        axis: str | None,
        written: list[jax.Array],
        read: list[jax.Array],
        data: Any,
        count: jax.Array,
    ) -> tuple[list[jax.Array], Any]:
        """What a device runs: all steps of a call."""
        self.compilations += 1
        with backend.replicas_along(axis):
            steps = stateless(self._written, self._steps)
            _, (new, logs) = stateless(self._read, steps)(read, written, data, count)
        return new, logs

    def _steps(self, data: Any, count: jax.Array) -> Any:
        # What was counted before counts once: the metrics are summed over the replicas in the end.
        counted = [v for v in self._metrics if v.aggregation == "sum"]
        if backend.replica_count() > 1:
            assign(counted, reduction.on_first_replica(values_of(counted)))
        if self._size == 1:
            self._step(data)
        else:
            step = stateless(self._written, self._step)

            def advance(number: jax.Array, values: list[jax.Array]) -> list[jax.Array]:
                batch = keras.tree.map_structure(lambda t: None if t is None else t[number], data)
                return step(values, batch)[0]

            values = values_of(self._written)
            assign(self._written, jax.lax.fori_loop(0, count, advance, values))
        assign(self._metrics, replica_metrics.over_replicas(self._metrics))
        with backend.replicas_along(None):
            return self._results()

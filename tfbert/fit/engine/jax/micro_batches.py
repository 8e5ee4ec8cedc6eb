"""A replica's rows in micro-batches, one after another."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras

from tfbert.fit.engine.jax.functional import assign, stateless, values_of
from tfbert.optimizers import backend

Sums = list[jax.Array | None]


def parts_of_replica(model: keras.Model) -> int:
    """Number of micro-batches that a replica divides its rows into.

    Where a batch cannot be divided among the devices, each of them has all of the parts.
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    return model.accumulate_steps * replicas // backend.replica_count()


def over_micro_batches(
    function: Callable[[Any, jax.Array], tuple[Sums, Any]],
    data: Any,
    parts: int,
    shapes: Sequence[Any],
    keeps_rows: bool,
    written: Sequence[keras.Variable],
) -> tuple[Sums, Any]:
    """Calls a function for each micro-batch of the data, and adds up what it returns.

    All micro-batches have the same size, and where the rows do not divide evenly the last one
    fewer; there may then be fewer of them.

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
    rows = next(len(tensor) for tensor in keras.tree.flatten(data) if tensor is not None)
    size = -(-rows // parts)
    full, rest = divmod(rows, size)
    run, none = stateless(written, function), [False] * len(shapes)

    def add_next(state: tuple[list, list], part: tuple[jax.Array, Any]) -> tuple[tuple, Any]:
        values, totals = state
        index, data = part
        values, (found, kept) = run(values, data, index)
        none[:] = [value is None for value in found]
        totals = [t if v is None else t + v for t, v in zip(totals, found, strict=True)]
        return (values, totals), kept

    def cut(begin: int, end: int, shape: tuple[int, ...]) -> Any:
        return keras.tree.map_structure(
            lambda t: None if t is None else t[begin:end].reshape(*shape, *t.shape[1:]), data
        )

    state = values_of(written), [jnp.zeros(shape, jnp.float32) for shape in shapes]
    even = full * size
    numbers = jnp.arange(full, dtype=jnp.int32)
    state, kept = jax.lax.scan(add_next, state, (numbers, cut(0, even, (full, size))))
    kept = [jax.tree.map(lambda t: t.reshape(even, *t.shape[2:]), kept)]
    if rest:
        last = jnp.asarray(full, jnp.int32), cut(even, rows, (rest,))
        state, more = add_next(state, last)
        kept.append(more)
    values, totals = state
    assign(written, values)
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *kept) if keeps_rows else []
    return [None if n else t for n, t in zip(none, totals, strict=True)], joined

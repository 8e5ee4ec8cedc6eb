"""The sum of all replicas' gradients: dense, float32, the same on each of them.

TensorFlow knows by its context which replica a function runs on. Under JAX it is one program over
the devices of a mesh, traced once inside of `backend.replicas_along`; elsewhere there is one
replica.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfbert.optimizers import backend
from tfbert.optimizers.backend import jax, replica_count, replica_id, run_if, tf
from tfbert.types import Tensor

# Whether Keras' own optimizers sum gradients over the replicas.
STOCK_OPTIMIZERS_REDUCE = tf is not None


def reduced(
    gradients: Sequence[Tensor], denominator: Tensor | float | None = None
) -> tuple[list[Tensor], Tensor]:
    """The gradients of all replicas as one: dense, float32, summed.

    Args:
        gradients: Tensors or `IndexedSlices`, local to this replica.
        denominator: Scalar or None: this replica's part of the divisor.

    Returns:
        Dense float32 tensors and their divisor, a float32 scalar: the sum of the denominators, or
        1 where that is 0 or None. The same on every replica.
    """
    gradients = [densify(g) for g in gradients]
    if denominator is None:
        return sum_over_replicas(gradients), ops.ones((), "float32")
    *gradients, total = sum_over_replicas([*gradients, ops.cast(denominator, "float32")])
    known = backend.known_value(total)  # where it is 1, nobody divides by it
    if known is not None:
        return gradients, ops.convert_to_tensor(known or 1.0, "float32")
    return gradients, ops.where(ops.equal(total, 0.0), 1.0, total)


def densify(gradient: Tensor) -> Tensor:
    """A gradient as one dense float32 tensor.

    The slices of an `IndexedSlices` that share a row are added up, so that its norm is the
    gradient's; float16 and bfloat16 are widened before anything is summed.
    """
    if tf is not None and isinstance(gradient, tf.IndexedSlices):
        gradient = tf.convert_to_tensor(gradient)
    return ops.cast(ops.convert_to_tensor(gradient, sparse=False), "float32")


def sum_over_replicas(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The sum over all replicas of every tensor of a list; the same on each of them.

    To be called outside of any condition: under MirroredStrategy it is a `merge_call`.

    Args:
        tensors: Dense, local to this replica.

    Raises:
        ValueError: not inside `strategy.run`, or a strategy without synchronous replicas.
    """
    if tf is None:
        axis = backend.axis()
        return list(tensors) if axis is None else jax.lax.psum(list(tensors), axis)
    context = tf.distribute.get_replica_context()
    if context is None:
        raise ValueError("apply() must be called inside strategy.run, once by every replica")
    strategy = context.strategy
    synchronous = (
        tf.distribute.MirroredStrategy,
        tf.distribute.MultiWorkerMirroredStrategy,
        tf.distribute.OneDeviceStrategy,
        tf.distribute.TPUStrategy,
    )
    if tf.distribute.has_strategy() and not isinstance(strategy, synchronous):
        raise ValueError(f"{type(strategy).__name__} does not keep its replicas in step")
    if context.num_replicas_in_sync == 1:
        return list(tensors)
    # A tensor made outside of strategy.run has no device here before it is copied.
    tensors = [tf.identity(t) for t in tensors]
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, tensors))


def on_first_replica(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors that are the same on every replica, as zeros on all replicas but the first.

    For an optimizer that sums over replicas itself, after clipping what each replica gives it: it
    then clips the reduced gradient.
    """
    is_first = ops.equal(replica_id(), 0)
    return [ops.where(is_first, t, ops.zeros_like(t)) for t in tensors]


def rows_of_replicas(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The rows of all replicas, in the order of the replicas; the same on each of them.

    To be called outside of any condition, as `sum_over_replicas`.

    Args:
        tensors: (rows, ...), local to this replica; under JAX as many rows on each.
    """
    if replica_count() == 1:
        return list(tensors)
    if tf is None:
        return jax.lax.all_gather(list(tensors), backend.axis(), tiled=True)
    # A tensor of the input has no device here before it is copied.
    tensors = [tf.identity(t) for t in tensors]
    return list(tf.distribute.get_replica_context().all_gather(tensors, axis=0))


def apply_stock(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[Tensor],
    variables: Sequence[keras.Variable],
    predicate: Tensor,
) -> None:
    """Lets one of Keras' own optimizers update, under a condition.

    Args:
        optimizer: Built.
        gradients: Dense and reduced: the same on every replica.
        variables: One for each gradient.
        predicate: Boolean scalar tensor, the same on every replica.
    """
    if tf is None or not tf.distribute.has_strategy():
        written = [*variables, *optimizer.variables]
        run_if(predicate, lambda: optimizer.apply(gradients, variables), written)
        return

    def on_replica(gradients: list[Tensor]) -> None:
        optimizer.apply(on_first_replica(gradients), variables)

    def across_replicas(strategy: Any, gradients: list[Tensor], predicate: Tensor) -> None:
        # A condition around the optimizer's merge_call is legal in this context alone.
        predicate = strategy.experimental_local_results(predicate)[0]
        each = strategy.extended.call_for_each_replica
        run_if(predicate, lambda: each(on_replica, args=(gradients,)), ())

    tf.distribute.get_replica_context().merge_call(across_replicas, args=(gradients, predicate))

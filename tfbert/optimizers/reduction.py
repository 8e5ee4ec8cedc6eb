"""The sum of all replicas' gradients: dense, float32, the same on each of them.

Under a backend without `tf.distribute` there is one replica, and nothing to sum.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfbert.optimizers.backend import run_if, tf
from tfbert.types import Tensor


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
        return list(tensors)
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
    is_first = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)
    return [tf.where(is_first, t, tf.zeros_like(t)) for t in tensors]


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

"""Runs steps on all replicas, several in a call."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfbert import xla
from tfbert.gradients import hold_gradients


def run_steps(
    model: keras.Model,
    step: Callable[[Any], None],
    results: Callable[[], Any],
    written: Sequence[keras.Variable],
) -> Callable[[Any, int, bool], tuple[Any, tf.Tensor]]:
    """A function that runs `step` on every replica, several times in one call.

    Args:
        model: A compiled `DistributedTrainer`.
        step: Function of one replica's batch.
        results: A replica calls it after the last step; it returns a structure of tensors that are
            the same on every replica.
        written: All variables that `step` may assign to.

    Returns:
        A function of a (distributed) iterator, a Python number of steps, at least 1, and whether
        the data is known to suffice for them. It returns (results, number of steps done as a
        scalar tensor); the data may end between the steps or before the first.
    """
    strategy = model.distribute_strategy

    def on_replicas(function: Callable[..., Any], *args: Any) -> Any:
        values = strategy.run(function, args=args)
        hold_gradients()
        return values

    def first_result() -> Any:
        return keras.tree.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], on_replicas(results)
        )

    def one_step(iterator: Any) -> tuple[Any, tf.Tensor]:
        on_replicas(step, next(iterator))
        return first_result(), tf.ones((), tf.int32)

    def several_steps(iterator: Any, steps: tf.Tensor) -> tuple[Any, tf.Tensor]:
        def advance(done: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = iterator.get_next_as_optional()
            has_value = batch.has_value()

            def run() -> tf.Tensor:
                on_replicas(step, batch.get_value())
                return done + 1

            return tf.cond(has_value, run, lambda: done), has_value

        # One at a time: the steps depend on each other by variables alone.
        done, _ = tf.while_loop(
            lambda done, has_more: tf.logical_and(done < steps, has_more),
            advance,
            (tf.zeros((), tf.int32), tf.constant(True)),
            parallel_iterations=1,
        )
        return first_result(), done

    if not model.run_eagerly:
        one_step = tf.function(one_step, autograph=False, reduce_retracing=True)
        several_steps = tf.function(several_steps, autograph=False, reduce_retracing=True)

    def function(iterator: Any, steps: int, is_sure: bool) -> tuple[Any, tf.Tensor]:
        # At an unforeseen end a distributed iterator would run the step on nothing, then raise.
        if steps == 1 and is_sure:
            return one_step(iterator)
        return several_steps(iterator, tf.constant(steps, tf.int32))

    # For code that traces one of them. mypy does not know attributes of functions.
    function.one_step, function.several_steps = one_step, several_steps  # type: ignore[attr-defined]
    function.step = step  # type: ignore[attr-defined]
    return function


def in_order(strategy: tf.distribute.Strategy, value: Any) -> tf.Tensor:
    """What `strategy.run` returned for a batch, as one tensor in the order of the global batch."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return strategy.gather(value, axis=0)
    return tf.concat(strategy.experimental_local_results(value), axis=0)


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled by XLA where the model asks for it."""
    return xla.compiled(function) if model.jit_compile else function

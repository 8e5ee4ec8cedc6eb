"""What runs on every replica in `evaluate` and `predict`."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfbert.fit import losses
from tfbert.fit.replicas import compiled, in_order, metric_results, run_steps
from tfbert.optimizers import reduction


def make_test_function(model: keras.Model) -> Callable[..., tuple[Any, Any]]:
    """The function behind `evaluate`: that of `make_train_function`, without updates."""
    terms = losses.loss_terms(model)
    parts = model.distribute_strategy.num_replicas_in_sync

    def forward(data: Any, scales: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y, sample_weight = data
        y_pred = model(x, training=False)
        sums = losses.loss_sums(model, terms, x, y, y_pred, sample_weight, False)
        model.compute_metrics(x, y, y_pred, sample_weight)
        return sums, losses.total_loss(terms, sums, scales)

    forward = compiled(model, forward)

    def step(batch: Any) -> None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        counts = losses.target_counts(model, terms, x, y, sample_weight)
        (totals,) = reduction.sum_over_replicas([counts])
        sums, total = forward((x, y, sample_weight), losses.scales(terms, totals, parts))
        losses.track(model, terms, sums, counts, total, totals, parts)

    return run_steps(model, step, lambda: metric_results(model))


def make_predict_function(model: keras.Model) -> Callable[[Any], Any]:
    """The function behind `predict`.

    Returns:
        A function of an iterator over distributed batches; it returns the outputs of one batch in
        the order of its rows, and raises `StopIteration` or `tf.errors.OutOfRangeError` at the end.
        Its attribute `of_batch` is the same function of one batch, for a single replica.
    """
    strategy = model.distribute_strategy
    forward = compiled(model, lambda x: model(x, training=False))

    def step(batch: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        return forward(x)

    def of_batch(batch: Any) -> Any:
        outputs = strategy.run(step, args=(batch,))
        return keras.tree.map_structure(lambda output: in_order(strategy, output), outputs)

    def function(iterator: Any) -> Any:
        return of_batch(next(iterator))

    if not model.run_eagerly:
        of_batch = tf.function(of_batch, autograph=False, reduce_retracing=True)
        function = tf.function(function, autograph=False, reduce_retracing=True)
    function.of_batch = of_batch  # type: ignore[attr-defined]
    return function


def several_batches(
    predict_function: Callable[[Any], Any],
) -> Callable[..., tuple[list[Any], int]]:
    """A predict function in the form of `run_steps`: it returns the outputs of each batch, and the
    number of batches."""

    def function(iterator: Any, steps: int, is_sure: bool) -> tuple[list[Any], int]:
        outputs: list[Any] = []
        with contextlib.suppress(StopIteration, tf.errors.OutOfRangeError):
            for _ in range(steps):
                outputs.append(predict_function(iterator))
        return outputs, len(outputs)

    return function

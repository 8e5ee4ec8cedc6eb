"""What runs on every replica in `evaluate` and `predict`."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import keras

from tfbert.fit import engine, losses, replica_metrics
from tfbert.optimizers import reduction
from tfbert.types import Tensor


def make_test_function(model: keras.Model) -> Callable[..., tuple[Any, Any]]:
    """The function behind `evaluate`: that of `make_train_function`, without updates."""
    terms = losses.loss_terms(model)
    parts = model.distribute_strategy.num_replicas_in_sync

    def forward(data: Any, scales: Tensor) -> tuple[Tensor, Tensor, Any]:
        x, y, sample_weight = data
        y_pred = model(x, training=False)
        sums = losses.loss_sums(model, terms, x, y, y_pred, sample_weight, False)
        is_kept = replica_metrics.needs_whole_batches(model, y, parts)
        kept = replica_metrics.count(model, x, y, y_pred, sample_weight, is_kept)
        return sums, losses.total_loss(terms, sums, scales), kept

    forward = engine.compiled(model, forward)

    def step(batch: Any) -> None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        counts = losses.target_counts(model, terms, x, y, sample_weight)
        (totals,) = reduction.sum_over_replicas([counts])
        sums, total, kept = forward((x, y, sample_weight), losses.scales(terms, totals, parts))
        if replica_metrics.needs_whole_batches(model, y, parts):
            replica_metrics.count_whole(model, x, y, kept, sample_weight)
        losses.track(model, terms, sums, counts, total, totals, parts)

    results = functools.partial(replica_metrics.metric_results, model)
    return engine.run_steps(model, step, results, model.metrics_variables)


def several_batches(
    predict_function: Callable[[Any], Any],
) -> Callable[..., tuple[list[Any], int]]:
    """A predict function in the form of `run_steps`: it returns the outputs of each batch, and the
    number of batches."""

    def function(iterator: Any, steps: int, is_sure: bool) -> tuple[list[Any], int]:
        outputs: list[Any] = []
        with contextlib.suppress(*engine.END_OF_DATA):
            for _ in range(steps):
                outputs.append(predict_function(iterator))
        return outputs, len(outputs)

    return function

"""What runs on every replica in `evaluate` and `predict`, and predictions side by side."""

import contextlib
import functools
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras

from tfbert.fit import engine, losses, replica_metrics
from tfbert.fit.batches.preprocessing import takes_raw_samples
from tfbert.hardware.strategies import is_tpu
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


def gains_side_by_side(model: keras.Model) -> bool:
    """Whether `side_by_side` is faster than `predict`: under TensorFlow, on one replica of a CPU.

    A matrix product of a small batch keeps all cores busy. Most other operations use one core, and
    so does making the batch in Python.
    """
    if keras.backend.backend() != "tensorflow" or model.run_eagerly or takes_raw_samples(model):
        return False
    import tensorflow as tf

    strategy = model.distribute_strategy
    is_one = strategy.num_replicas_in_sync == 1 and not is_tpu(strategy)
    return is_one and not tf.config.list_logical_devices("GPU")


def side_by_side(
    model: keras.Model, make: Callable[[int], Any], numbers: Iterable[int], at_a_time: int
) -> Generator[Any, None, None]:
    """The outputs of batches in their order, of which some are computed at the same time.

    Where the caller stops early, or one of the batches raises an error, no others begin. Those that
    have begun are computed to their end in the background; the caller does not wait for them.

    Args:
        model: One of which `gains_side_by_side` is true.
        make: From the number of a batch to its inputs, arrays whose shapes may differ.
        at_a_time: How many at most; they need memory at the same time.
    """
    import tensorflow as tf

    numbers = list(numbers)
    if not numbers:
        return
    # One graph for batches of any shape, made before the threads begin.
    shapes = keras.tree.map_structure(
        lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), make(numbers[0])
    )
    model.make_predict_function().of_batch.get_concrete_function(shapes)
    computed = map if at_a_time == 1 else _threads(at_a_time).map
    yield from computed(lambda number: model.predict_on_batch(make(number)), numbers)


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Kept, because TensorFlow never frees what it has made for a thread."""
    return ThreadPoolExecutor(count, "predict")

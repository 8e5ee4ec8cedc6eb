"""Metrics over all replicas: what is a sum is added up, anything else sees the whole batch.

Each replica counts its own rows. Where a metric's state is a sum over rows, as of most of Keras'
metrics, the replicas' states are added. A maximum or a correlation is no such sum, and of a metric
of one's own it cannot be known. If a model has one of these, targets and outputs of all replicas
and micro-batches are gathered, and every replica updates the model's metrics once an update with
all of them, as one device would.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfbert.fit import keras_internals
from tfbert.optimizers import backend, reduction
from tfbert.types import Tensor

# Of Keras' metrics those that are not sums over rows.
_WHOLE_BATCH = (
    keras.metrics.ConcordanceCorrelation,
    keras.metrics.CosineSimilarity,
    keras.metrics.PearsonCorrelation,
    # Of functions of one's own; Keras' are subclasses.
    keras.metrics.MeanMetricWrapper,
)


def needs_whole_batches(model: keras.Model, y: Any, parts: int) -> bool:
    """Whether the model's metrics have to see the whole batch at once.

    Args:
        y: A replica's targets, or None.
        parts: Number of micro-batches of all replicas together.
    """
    metrics = _of_batches(model)
    if parts == 1 or not metrics:
        return False
    # A batch of scalars is one row to Keras: it counts their mean once.
    outputs = getattr(model, "outputs", None) or keras.tree.flatten(y)
    has_scalars = any(output is not None and len(output.shape) < 2 for output in outputs)
    return has_scalars or not all(_is_sum(metric) for metric in metrics)


def count(
    model: keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any, is_kept: bool
) -> Any:
    """Counts a micro-batch, unless its outputs are to be kept for `count_whole`.

    Returns:
        `y_pred` if `is_kept`, else an empty list.
    """
    if is_kept:
        return y_pred
    model.compute_metrics(x, y, y_pred, sample_weight)
    return []


def count_whole(model: keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> None:
    """Counts a replica's part of a batch together with those of all other replicas.

    To be called outside of any condition, as `reduction.sum_over_replicas`.
    """
    for metric in _of_batches(model):
        for variable in metric.variables:
            # From now on all replicas hold the same.
            keras_internals.set_aggregation(variable, "only_first_replica")
    parts = {"y": y, "y_pred": y_pred, "sample_weight": sample_weight}
    if keras_internals.overrides_compute_metrics(model):
        parts["x"] = x
    known = [part for part in keras.tree.flatten(parts) if part is not None]
    gathered = iter(reduction.rows_of_replicas(known))
    parts = keras.tree.map_structure(lambda part: None if part is None else next(gathered), parts)
    model.compute_metrics(parts.get("x"), parts["y"], parts["y_pred"], parts["sample_weight"])


def check_metrics_of_layers(model: keras.Model) -> None:
    """Raises ValueError for a metric inside of a layer that is not known to be a sum."""
    for metric in _of_layers(model):
        declared = {variable.aggregation for variable in metric.variables}
        # Without being told, Keras calls every variable of a metric a sum.
        if not _is_sum(metric) and "sum" in declared:
            raise ValueError(
                f"{metric.name}: over several replicas a layer's {type(metric).__name__} cannot be "
                "computed: give it to compile(metrics=...), or make its variables with "
                "add_variable(aggregation='mean') or 'only_first_replica'"
            )


def metric_results(model: keras.Model) -> dict[str, Any]:
    """The results of all metrics over all replicas: a dict, the same on each.

    What the replicas' states are together is said by the `aggregation` of Keras' variables; all
    metrics are summed in one reduction.
    """
    variables = [v for metric in model.metrics for v in metric.variables]
    mapping = list(zip(variables, over_replicas(variables), strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        return keras.tree.map_structure(ops.convert_to_tensor, model.get_metrics_result())


def over_replicas(variables: Sequence[keras.Variable]) -> list[Tensor]:
    """What the replicas' values of variables of metrics are together; the same on each replica."""
    values = {id(v): ops.convert_to_tensor(v.value) for v in variables}
    replicas = backend.replica_count()
    for dtype in {value.dtype for value in values.values()}:
        counted = [v for v in variables if values[id(v)].dtype == dtype]
        totals = reduction.sum_over_replicas([_part(v, values[id(v)], replicas) for v in counted])
        for v, total in zip(counted, totals, strict=True):
            values[id(v)] = total / replicas if v.aggregation == "mean" else total
    return [values[id(v)] for v in variables]


def _part(variable: keras.Variable, value: Tensor, replicas: int) -> Tensor:
    """What this replica adds to the whole: its own value, or that of the first alone."""
    if replicas == 1 or variable.aggregation in ("sum", "mean"):
        return value
    return reduction.on_first_replica([value])[0]


def _is_sum(metric: keras.metrics.Metric) -> bool:
    """Whether a metric's state is known to be a sum over rows."""
    library = type(metric).__module__.partition(".")[0]
    if library not in ("keras", "keras_hub", "tfbert") or type(metric) in _WHOLE_BATCH:
        return False
    return metric.get_config().get("axis", -1) == -1


def _of_batches(model: keras.Model) -> list[keras.metrics.Metric]:
    """Those of `compile` and the model's own, without losses and those of layers."""
    others = [keras_internals.total_loss_tracker(model), *keras_internals.loss_trackers(model)]
    ids = {id(metric) for metric in (*others, *_of_layers(model))}
    metrics = [metric for metric in model.metrics if id(metric) not in ids]
    # Those of `compile` are in one metric.
    return [single for metric in metrics for single in getattr(metric, "metrics", [metric])]


def _of_layers(model: keras.Model) -> list[keras.metrics.Metric]:
    own = {id(metric) for metric in keras_internals.own_metrics(model)}
    return [metric for metric in model.metrics if id(metric) not in own]

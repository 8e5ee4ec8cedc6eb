"""The loss as a mean over the global batch, however the batch is divided.

Keras divides by the elements of a replica's batch, padding included, and then by the replicas. Here
each term of the loss is a sum over real targets, those of a weight other than 0, divided by their
number over all replicas and micro-batches.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from tfbert.fit import keras_internals
from tfbert.types import Tensor


class LossTerm(NamedTuple):
    """One output's loss.

    Args:
        path: Keys that lead to the output in `y_pred`.
        loss: `keras.losses.Loss`, or None for a model's own `compute_loss`.
        weight: Its factor in the total.
        tracker: `keras.metrics.Mean` of this term, or None where it is the only one.
    """

    path: tuple[Any, ...]
    loss: Any
    weight: float
    tracker: Any


def loss_terms(model: keras.Model) -> list[LossTerm]:
    """The `LossTerm`s of a compiled and built model.

    Raises:
        ValueError: If there is no loss, or one that is not reduced.
    """
    if keras_internals.overrides_compute_loss(model):
        return [LossTerm((), None, 1.0, None)]
    compiled = keras_internals.loss_terms(model)
    trackers = keras_internals.loss_trackers(model) or [None]
    terms = [
        LossTerm(term.path, term.loss, 1.0 if term.loss_weights is None else term.loss_weights, t)
        for term, t in zip(compiled, trackers, strict=bool(compiled))
    ]
    for term in terms:
        if term.loss.reduction in (None, "none"):
            raise ValueError(f"loss {term.loss.name}: reduction=None gives no number to train on")
    return terms


def target_counts(
    model: keras.Model, terms: list[LossTerm], x: Any, y: Any, sample_weight: Any
) -> Tensor:
    """This replica's part of the numbers by which the sums of `loss_sums` are divided.

    Returns:
        (terms + 1,) float32: for each term its real targets (their weights under the reduction
        `mean_with_sample_weight`; 0 for `sum`, which is not divided), and the number of rows.
    """
    rows = ops.cast(ops.shape(keras.tree.flatten(x)[0])[0], "float32")
    y, sample_weight = _arranged(model, y), _arranged(model, sample_weight)
    counts = [rows if t.loss is None else _count(t, y, sample_weight) for t in terms]
    return ops.stack([*counts, rows])


def loss_sums(
    model: keras.Model,
    terms: list[LossTerm],
    x: Any,
    y: Any,
    y_pred: Any,
    sample_weight: Any,
    training: bool,
) -> Tensor:
    """The terms of the loss, each summed over its real targets, and what layers add to it.

    Args:
        model: For the losses that its layers added and its own `compute_loss`.
        x, y, y_pred, sample_weight: One micro-batch, and the model's outputs for it.

    Returns:
        (terms + 1,) float32; the last is what regularizers and `add_loss` add, times the rows.
    """
    rows = ops.cast(ops.shape(keras.tree.flatten(x)[0])[0], "float32")
    if any(term.loss is None for term in terms):
        mean = model.compute_loss(x, y, y_pred, sample_weight, training=training)
        return ops.stack([_times_rows(ops.cast(mean, "float32"), rows), ops.zeros((), "float32")])
    added = ops.zeros((), "float32")
    for loss in model.losses:
        added += ops.cast(ops.sum(loss), "float32")
    if not terms and not model.losses:
        raise ValueError("no loss to compute: give compile() a loss")
    y, sample_weight = _arranged(model, y), _arranged(model, sample_weight)
    sums = [_sum(term, y, y_pred, sample_weight) for term in terms]
    return ops.stack([*sums, _times_rows(added, rows)])


def scales(terms: list[LossTerm], totals: Tensor, parts: int) -> Tensor:
    """Factors that make the sums of a micro-batch its contribution to the loss, times `parts`.

    The loss is the mean of these over all micro-batches. The factor `parts` keeps the gradient of
    one micro-batch as large as that of its own mean, and so in the range of float16.

    Args:
        totals: (terms + 1,) float32, `target_counts` summed over the global batch.
        parts: Number of micro-batches of all replicas together.

    Returns:
        (terms + 1,) float32, without the terms' weights; 0 for a term without a target.
    """
    divided = ops.divide_no_nan(float(parts), totals)
    is_sum = [t.loss is not None and not _is_mean(t) for t in terms] + [False]
    return ops.where(ops.convert_to_tensor(is_sum, "bool"), float(parts), divided)


def total_loss(terms: list[LossTerm], sums: Tensor, scale: Tensor) -> Tensor:
    """The sum of the loss's terms, a float32 scalar, from what `loss_sums` and `scales` return."""
    weights = ops.convert_to_tensor([*(term.weight for term in terms), 1.0], "float32")
    return ops.sum(sums * scale * weights)


def track(
    model: keras.Model,
    terms: list[LossTerm],
    sums: Tensor,
    counts: Tensor,
    total: Tensor,
    totals: Tensor,
    parts: int,
) -> None:
    """Adds a replica's batch to the means behind `logs`.

    `logs["loss"]` is the mean over the real targets seen so far; with several terms, over batches.

    Args:
        sums: (terms + 1,) float32, `loss_sums` of this replica.
        counts: (terms + 1,) float32, `target_counts` of this replica.
        total: Scalar float32: sum of this replica's parts of the loss, as scaled by `scales`.
        totals, parts: As in `scales`.
    """
    # The count that weighs a batch: of real targets, or of rows, which come last.
    counted_by = 0 if len(terms) == 1 and terms[0].loss is not None and _is_mean(terms[0]) else -1
    tracker = keras_internals.total_loss_tracker(model)
    tracker.total.assign_add(total * totals[counted_by] / float(parts))
    tracker.count.assign_add(counts[counted_by])
    for index, term in enumerate(terms):
        if term.tracker is not None:
            term.tracker.total.assign_add(sums[index])
            term.tracker.count.assign_add(counts[index] if _is_mean(term) else counts[-1])


def _is_mean(term: LossTerm) -> bool:
    return term.loss.reduction != "sum"


def _arranged(model: keras.Model, structure: Any) -> Any:
    """Targets or weights in the containers of the model's outputs.

    Keras takes targets as a list for a model with a dict of outputs, and the reverse.
    """
    outputs = keras_internals.output_structure(model)
    if structure is None or isinstance(structure, type(outputs)):
        return structure
    if keras.tree.is_nested(structure) or keras.tree.is_nested(outputs):
        flat = keras.tree.flatten(structure)
        if len(flat) == len(keras.tree.flatten(outputs)):
            return keras.tree.pack_sequence_as(outputs, flat)
    return structure


def _at(path: tuple[Any, ...], structure: Any) -> Any:
    for key in path:
        structure = structure[key]
    return structure


def _weight_of(term: LossTerm, sample_weight: Any) -> Any:
    nested = sample_weight is not None and keras.tree.is_nested(sample_weight)
    return _at(term.path, sample_weight) if nested else sample_weight


def _elements(tensor: Tensor) -> Tensor:
    """Number of elements a row, a float32 scalar."""
    return ops.cast(ops.prod(ops.shape(tensor)[1:]), "float32")


def _count(term: LossTerm, y: Any, sample_weight: Any) -> Tensor:
    """Targets are counted by the elements of y, which are known before the model has run."""
    target, weight = _at(term.path, y), _weight_of(term, sample_weight)
    if term.loss.reduction == "sum":
        return ops.zeros((), "float32")
    target = ops.convert_to_tensor(target)
    if weight is None:
        return ops.cast(ops.size(target), "float32")
    if term.loss.reduction == "mean_with_sample_weight":
        counted = ops.sum(ops.cast(weight, "float32"))
    else:
        counted = ops.cast(ops.count_nonzero(weight), "float32")
    return counted * _elements(target) / _elements(weight)


def _sum(term: LossTerm, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
    target, weight = _at(term.path, y), _weight_of(term, sample_weight)
    prediction = _at(term.path, y_pred)
    if keras_internals.keras_mask(prediction) is not None:
        raise ValueError(
            f"the output of loss {term.loss.name} carries a Keras mask, which says too late which "
            "targets are real: give them as sample_weight"
        )
    target = ops.convert_to_tensor(target)
    rows = ops.cast(ops.shape(target)[0], "float32")
    dtype = term.loss.dtype
    values = term.loss.call(ops.cast(target, dtype), ops.cast(prediction, dtype))
    values = ops.cast(values, "float32")
    scalar = len(values.shape) == 0
    if weight is not None:
        values = values * _aligned(ops.cast(weight, "float32"), values)
    if term.loss.reduction == "sum":
        return ops.sum(values)
    if scalar:
        # A function that reduces itself: taken as the mean over its rows.
        return _times_rows(ops.mean(values), rows) * _elements(target)
    return ops.sum(values) * _elements(target) / _elements(values)


def _aligned(weight: Tensor, values: Tensor) -> Tensor:
    """Weights with as many axes as the values; in Keras either may have one more, of size 1."""
    rank = len(values.shape) or 1
    if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
        return ops.squeeze(weight, -1)
    while len(weight.shape) < rank:
        weight = weight[..., None]
    return weight


def _times_rows(mean: Tensor, rows: Tensor) -> Tensor:
    """`mean * rows`, and 0 for the mean over nothing, which is NaN."""
    return ops.where(rows > 0, mean, 0.0) * rows

"""What an update is: the one hot loop, which `fit` runs.

On every replica, with its part of a global batch:

    counts = number of real targets, for each term of the loss             losses.target_counts
    totals = counts, summed over all replicas                  reduction.sum_over_replicas
    scales = what makes each term a mean over the global batch             losses.scales

    for each of accumulate_steps micro-batches:                            _Gradients
        y_pred = model(rows of the micro-batch)   dropout by (seed, update, micro-batch, replica)
        sums = loss over the real targets, each term a sum                 losses.loss_sums
        gradients += d(sums * scales * loss scale) / d(weights)

    metrics += sums, counts, or the whole batch             losses.track, replica_metrics
    gradients, denominator = as the optimizer takes them                   _as_optimizer_expects
    optimizer.apply(gradients, variables, denominator):          optimizers.application
        sum over all replicas: gradients and denominators        optimizers.reduction
        divide: by denominator and loss scale
        any inf or NaN: no update, halve the loss scale           optimizers.loss_scale
        clip: by the global norm
        update: variable by variable                             optimizers.lamb, adamw, lars
"""

import functools
from collections.abc import Callable
from typing import Any

import keras

from tfbert.fit import engine, losses, replica_metrics
from tfbert.fit.dropout_seeds import stateless_dropout, step_key
from tfbert.optimizers import backend, reduction
from tfbert.optimizers.application import ReducingOptimizer
from tfbert.optimizers.loss_scale import LossScaleOptimizer, innermost
from tfbert.types import Tensor


def make_train_function(
    model: keras.Model,
) -> Callable[[Any, int, bool], tuple[Any, Any]]:
    """The function behind `fit`.

    Args:
        model: A compiled and built `DistributedTrainer`.

    Returns:
        That of `engine.run_steps`; its results are the logs.
    """
    terms = losses.loss_terms(model)
    micro_batches = _micro_batches(model)
    gradients_of = _Gradients(model, terms)

    def update(batch: Any) -> None:
        """One update, in every replica's own context."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        counts = losses.target_counts(model, terms, x, y, sample_weight)
        (totals,) = reduction.sum_over_replicas([counts])
        gradients, sums, total, kept = gradients_of(
            (x, y, sample_weight), losses.scales(terms, totals, micro_batches)
        )
        if replica_metrics.needs_whole_batches(model, y, micro_batches):
            replica_metrics.count_whole(model, x, y, kept, sample_weight)
        losses.track(model, terms, sums, counts, total, totals, micro_batches)
        gradients, options = _as_optimizer_expects(model, gradients)
        model.optimizer.apply(gradients, model.trainable_variables, **options)

    written = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    results = functools.partial(replica_metrics.metric_results, model)
    return engine.run_steps(model, update, results, written)


def _micro_batches(model: keras.Model) -> int:
    """Number of micro-batches of all replicas together."""
    return model.distribute_strategy.num_replicas_in_sync * model.accumulate_steps


class _Gradients:
    """Gradients of a replica's share of the batch, summed over its micro-batches."""

    def __init__(self, model: keras.Model, terms: list[losses.LossTerm]) -> None:
        self.model = model
        self.terms = terms
        # What a forward pass may assign to.
        self.others = [*model.non_trainable_variables, *model.metrics_variables]
        self.micro_batch = engine.compiled(model, self._micro_batch)

    def __call__(
        self, data: tuple[Any, Any, Any], scales: Tensor
    ) -> tuple[list[Tensor | None], Tensor, Tensor, Any]:
        """A list of gradients or None, (terms + 1,) sums, the sum of the scaled losses, and the
        model's outputs for all rows, where metrics need them, else an empty list."""
        update, replica = self.model.optimizer.iterations, backend.replica_id()

        def key(micro_batch: Tensor | int) -> Tensor:
            return step_key(self.model.seed, update, micro_batch, replica)

        parts = engine.parts_of_replica(self.model)
        if parts == 1:
            return self.micro_batch(data, scales, key(0))

        def one_of_several(rows: Any, index: Tensor) -> tuple[list, Any]:
            gradients, sums, total, kept = self.micro_batch(rows, scales, key(index))
            return [*gradients, sums, total], kept

        shapes = [v.shape for v in self.model.trainable_variables]
        (*gradients, sums, total), kept = engine.over_micro_batches(
            one_of_several,
            data,
            parts,
            [*shapes, (len(self.terms) + 1,), ()],
            replica_metrics.needs_whole_batches(self.model, data[1], _micro_batches(self.model)),
            self.others,
        )
        return gradients, sums, total, kept

    def _micro_batch(
        self, data: tuple[Any, Any, Any], scales: Tensor, key: Tensor
    ) -> tuple[list[Tensor | None], Tensor, Tensor, Any]:
        x, y, sample_weight = data
        model = self.model

        def forward() -> tuple[Tensor, tuple[Any, Tensor, Tensor]]:
            y_pred = model(x, training=True)
            sums = losses.loss_sums(model, self.terms, x, y, y_pred, sample_weight, True)
            total = losses.total_loss(self.terms, sums, scales)
            return model.optimizer.scale_loss(total), (y_pred, sums, total)

        with stateless_dropout(model, key):
            gradients, (y_pred, sums, total) = engine.gradients(
                forward, model.trainable_variables, self.others
            )
        is_kept = replica_metrics.needs_whole_batches(model, y, _micro_batches(model))
        kept = replica_metrics.count(model, x, y, y_pred, sample_weight, is_kept)
        return gradients, sums, total, kept


def _as_optimizer_expects(
    model: keras.Model, gradients: list[Tensor | None]
) -> tuple[list[Tensor | None], dict[str, Any]]:
    """This replica's sums as the optimizer takes them, and the options of its `apply`.

    Summed over replicas they are `_micro_batches(model)` times the gradient of the loss. Who
    divides by that, and who clips?

    - Ours, loss scaling included: sums over replicas, divides by the sum of all denominators,
      clips.
    - Ours with `gradient_accumulation_steps` of its own takes no denominator: divided here.
    - Keras' own: divided here; Keras sums over replicas, under TensorFlow alone.
    - Keras' own that clips, on several replicas: divided and summed here. Keras clips before it
      sums over replicas: the first replica gives it the sum, the others zeros.
    """
    optimizer, micro_batches = model.optimizer, _micro_batches(model)
    is_ours = isinstance(optimizer, (ReducingOptimizer, LossScaleOptimizer))
    if is_ours and not innermost(optimizer).gradient_accumulation_steps:
        return gradients, {"denominator": engine.parts_of_replica(model)}
    if micro_batches > 1:
        gradients = [None if g is None else g / micro_batches for g in gradients]
    clips = any((optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue))
    is_summed = not is_ours and (clips or not reduction.STOCK_OPTIMIZERS_REDUCE)
    if is_summed and model.distribute_strategy.num_replicas_in_sync > 1:
        known = reduction.sum_over_replicas([g for g in gradients if g is not None])
        if reduction.STOCK_OPTIMIZERS_REDUCE:
            known = reduction.on_first_replica(known)
        summed = iter(known)
        gradients = [None if g is None else next(summed) for g in gradients]
    return gradients, {}

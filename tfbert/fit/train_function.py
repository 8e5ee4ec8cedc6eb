"""The one hot loop: n updates a call, each the mean over k micro-batches of every replica."""

import keras
import tensorflow as tf

from tfbert.fit import losses
from tfbert.fit.dropout_seeds import stateless_dropout, step_key
from tfbert.fit.replicas import compiled, metric_results, replica_id, run_steps
from tfbert.optimizers import reduction
from tfbert.optimizers.application import ReducingOptimizer
from tfbert.optimizers.loss_scale import LossScaleOptimizer


def make_train_function(model):
    """The function behind `fit`.

    Args:
        model: A compiled and built `DistributedTrainer`.

    Returns:
        A function of an iterator over (distributed) global batches and a number of updates; it
        gives the logs, and how many updates the data sufficed for, as `run_steps` says.
    """
    strategy = model.distribute_strategy
    terms = losses.loss_terms(model)
    parts = strategy.num_replicas_in_sync * model.accumulate_steps
    gradients_of = _Gradients(model, terms)

    def update(batch):
        """One update, in every replica's own context."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        counts = losses.target_counts(model, terms, x, y, sample_weight)
        (totals,) = reduction.sum_over_replicas([counts])
        gradients, sums, total = gradients_of(
            (x, y, sample_weight), losses.scales(terms, totals, parts)
        )
        losses.track(model, terms, sums, counts, total, totals, parts)
        _apply(model, gradients, parts)

    return run_steps(model, update, lambda: metric_results(model))


class _Gradients:
    """Gradients of a replica's share of the batch, summed over its micro-batches."""

    def __init__(self, model, terms):
        self.model = model
        self.terms = terms
        self.pieces = model.accumulate_steps
        self.micro_batch = compiled(model, self._micro_batch)

    def __call__(self, data, scales):
        """A list of gradients or None, (terms + 1,) sums, and the sum of the scaled losses."""
        update, replica = self.model.optimizer.iterations, replica_id()

        def key(micro_batch):
            return step_key(self.model.seed, update, micro_batch, replica)

        if self.pieces == 1:
            return self.micro_batch(data, scales, key(0))
        variables = self.model.trainable_variables
        none = [False] * len(variables)

        def add_next(index, accumulators, sums, total):
            piece = keras.tree.map_structure(lambda t: _piece(t, index, self.pieces), data)
            gradients, more, loss = self.micro_batch(piece, scales, key(index))
            none[:] = [g is None for g in gradients]
            accumulators = [
                a if g is None else a + g for a, g in zip(accumulators, gradients, strict=True)
            ]
            return index + 1, accumulators, sums + more, total + loss

        start = (
            tf.zeros((), tf.int32),
            [tf.zeros(v.shape, tf.float32) for v in variables],
            tf.zeros((len(self.terms) + 1,), tf.float32),
            tf.zeros((), tf.float32),
        )
        # One at a time: a second micro-batch in flight would need its activations as well.
        _, accumulators, sums, total = tf.while_loop(
            lambda index, *_: index < self.pieces, add_next, start, parallel_iterations=1
        )
        return [None if n else a for n, a in zip(none, accumulators, strict=True)], sums, total

    def _micro_batch(self, data, scales, key):
        x, y, sample_weight = data
        model = self.model
        variables = model.trainable_variables
        # Only what is trained is watched: a frozen layer keeps no activations.
        with (
            stateless_dropout(model, key),
            tf.GradientTape(watch_accessed_variables=False) as tape,
        ):
            tape.watch([v.value for v in variables])
            y_pred = model(x, training=True)
            sums = losses.loss_sums(model, self.terms, x, y, y_pred, sample_weight, True)
            total = losses.total_loss(self.terms, sums, scales)
            scaled = model.optimizer.scale_loss(total)
            gradients = tape.gradient(scaled, [v.value for v in variables])
        model.compute_metrics(x, y, y_pred, sample_weight)
        return [None if g is None else reduction.densify(g) for g in gradients], sums, total


def _piece(tensor, index, pieces):
    """Rows of micro-batch `index`; where they do not divide evenly, the last ones get fewer."""
    if tensor is None:  # no sample weights
        return None
    rows = tensor.shape[0]
    if rows is not None and rows % pieces == 0:
        size = rows // pieces
        others = tf.shape(tensor)[1:]
        piece = tf.slice(
            tensor,
            tf.concat([[index * size], tf.zeros_like(others)], 0),
            tf.concat([[size], others], 0),
        )
        return tf.ensure_shape(piece, [size, *tensor.shape[1:]])
    size = -(-tf.shape(tensor)[0] // pieces)
    return tensor[index * size : (index + 1) * size]


def _apply(model, gradients, parts):
    """Hands the sums of this replica to the optimizer, which reduces them.

    Their sum over replicas is `parts` times the gradient of the loss.
    """
    optimizer, variables = model.optimizer, model.trainable_variables
    micro_batches = model.accumulate_steps
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    takes_denominator = isinstance(optimizer, (ReducingOptimizer, LossScaleOptimizer))
    if takes_denominator and not inner.gradient_accumulation_steps:
        optimizer.apply(gradients, variables, denominator=micro_batches)
        return
    if parts > 1:
        gradients = [None if g is None else g / parts for g in gradients]
    if takes_denominator or not _clips(optimizer) or parts == micro_batches:
        optimizer.apply(gradients, variables)
        return
    # Keras clips what a replica brings: bring it the sum.
    known = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
    summed = reduction.sum_over_replicas([g for g, _ in known])
    reduction.apply_stock(optimizer, summed, [v for _, v in known], None)


def _clips(optimizer):
    return any((optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue))

"""The order of an update: reduce, unscale, accumulate, update, average."""

import keras
from keras import ops

from tfbert.optimizers import reduction
from tfbert.optimizers.slots import PathState


class ReducingOptimizer(PathState, keras.optimizers.Optimizer):
    """A Keras optimizer that sums gradients over replicas before anything looks at them.

    After the sum every replica computes with equal numbers and assigns to its own copy of the
    variables, so that all take the same decisions, without a `merge_call` inside a condition.

    A subclass gives `_update(gradients, variables, divisor, iterations)`, which clips and updates
    with gradients that are still to be divided by `divisor`.
    """

    def apply(self, grads, trainable_variables=None, denominator=None):
        """One update with the gradients of this replica.

        Inside `strategy.run` every replica calls it with its own gradients; they are summed.
        Give either gradients of a loss that is already divided by the global batch (a stock
        `fit` does so), or local sums together with their `denominator`.

        Args:
            grads: List of tensors, `IndexedSlices` or None, one for each variable.
            trainable_variables: List of the variables; None means all those built.
            denominator: Scalar or None. This replica's part of what the summed gradient is
                divided by, such as its number of examples or of masked tokens. A sum of 0
                divides by 1.

        Raises:
            ValueError: outside of `strategy.run`, a variable that `build` has not seen, no
                gradient at all, or a denominator beside `gradient_accumulation_steps`.
        """
        if not len(grads):
            return
        self.check_denominator(denominator)
        grads, variables = self.matched(grads, trainable_variables)
        gradients, divisor = reduction.reduced(grads, denominator)
        self.apply_reduced(gradients, variables, divisor)

    def check_denominator(self, denominator):
        """Raises ValueError for a denominator of micro-batches that are accumulated here.

        They would all count the same, however many examples each has.
        """
        if denominator is not None and self.gradient_accumulation_steps:
            raise ValueError(
                "denominator goes with gradients that you have summed over micro-batches yourself, "
                "not with gradient_accumulation_steps"
            )

    def matched(self, grads, trainable_variables=None):
        """Pairs gradients with variables, builds if need be, and drops those that are None.

        Returns:
            List of gradients and list of variables, of equal length.

        Raises:
            ValueError: as `apply`.
        """
        if trainable_variables is None:
            if not self.built:
                raise ValueError("the optimizer must be built before apply() without variables")
            trainable_variables = self._trainable_variables
        trainable_variables = list(trainable_variables)
        if len(grads) != len(trainable_variables):
            raise ValueError(f"{len(grads)} gradients for {len(trainable_variables)} variables")
        if not self.built:
            reduction.check_may_build()
            self.build(trainable_variables)
        self.check_known(trainable_variables)
        return self._filter_empty_gradients(grads, trainable_variables)

    def apply_reduced(self, gradients, variables, divisor, apply_if=None):
        """One update with gradients that are the same on every replica.

        Args:
            gradients: List of dense float32 tensors.
            variables: List of variables, one for each gradient.
            divisor: Float32 scalar by which the gradients are still to be divided.
            apply_if: Boolean scalar, the same on every replica, or None. Where it is False,
                nothing changes and the update does not count.
        """
        if self.loss_scale_factor is not None:
            divisor = divisor * self.loss_scale_factor
        step = self._accumulate if self.gradient_accumulation_steps else self._step
        written = [*variables, *self.variables]
        reduction.run_if(apply_if, lambda: step(gradients, variables, divisor), written)
        counted = 1 if apply_if is None else ops.cast(apply_if, self._iterations.dtype)
        # Its aggregation makes this a merge_call, which no condition may hold.
        self._iterations.assign_add(counted)

    def _accumulate(self, gradients, variables, divisor):
        steps = self.gradient_accumulation_steps
        is_last = ops.equal((self._iterations + 1) % steps, 0)
        accumulators = [self.slots_of(v)["accumulator"] for v in variables]
        sums = [
            ops.convert_to_tensor(a) + g / divisor
            for g, a in zip(gradients, accumulators, strict=True)
        ]
        for accumulator, total in zip(accumulators, sums, strict=True):
            accumulator.assign(ops.where(is_last, ops.zeros_like(total), total))
        reduction.run_if(
            is_last,
            lambda: self._step(sums, variables, ops.cast(steps, "float32")),
            [*variables, *self.variables],
        )

    def _step(self, gradients, variables, divisor):
        iterations = ops.cast(self.iterations, self._iterations.dtype)
        self._update(gradients, variables, divisor, iterations)
        for variable in variables:
            if getattr(variable, "constraint", None) is not None:
                variable.assign(variable.constraint(variable))
        if self.use_ema:
            self._average(variables, iterations)

    def _average(self, variables, iterations):
        """Keras' moving average: the weights at a variable's first update, then the mean."""
        frequency = self.ema_overwrite_frequency
        for variable in variables:
            slots = self.slots_of(variable)
            weight = ops.cast(variable, "float32")
            old = ops.convert_to_tensor(slots["average"])
            mean = self.ema_momentum * old + (1.0 - self.ema_momentum) * weight
            mean = ops.where(ops.equal(iterations, slots["first_step"]), weight, mean)
            slots["average"].assign(mean)
            if frequency:
                weight = ops.where(ops.equal((iterations + 1) % frequency, 0), mean, weight)
                variable.assign(ops.cast(weight, variable.dtype))

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        """Behind Keras' `finalize_variable_values`; by path instead of by order."""
        for variable in trainable_variables:
            average = ops.convert_to_tensor(self.slots_of(variable)["average"])
            variable.assign(ops.cast(average, variable.dtype))

    @property
    def _model_variables_moving_average(self):
        """What Keras' callback SwapEMAWeights looks for, in the order it expects."""
        if not self.use_ema:
            raise AttributeError("_model_variables_moving_average needs use_ema=True")
        return [self.slots_of(v)["average"] for v in self._trainable_variables]

"""The order of an update: reduce, unscale, test, accumulate, clip, update, average.

`ReducingOptimizer.apply` is the entry. It calls `reduction` once for the sum over replicas, and for
each variable the rule of the optimizer (`lamb`, `lars`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from tfbert.optimizers import backend, reduction
from tfbert.optimizers.slots import PathState
from tfbert.types import Tensor
from tfbert.xla import compiled

# `{slot name: tensor}` of one variable.
Slots: TypeAlias = dict[str, Tensor]


class TrustRatio(NamedTuple):
    """||x||, ||u|| and the factor of the learning rate of one variable at one update.

    During the update these are float32 scalars, and None for norms that are not needed; from
    `trust_ratios()` they are floats.
    """

    weight_norm: Any
    update_norm: Any
    trust_ratio: Any

    def as_row(self) -> Tensor:
        """Of tensors: one float32 tensor of shape (3,)."""
        return ops.stack([ops.cast(number, "float32") for number in self])


class ReducingOptimizer(PathState):
    """Base of AdamW, LAMB and LARS: sums gradients over replicas before they are used.

    After the sum every replica computes with equal numbers and assigns to its own copy of the
    variables, so that all take the same decisions, and no condition holds a `merge_call`.

    A subclass names its float32 slots in `slot_names`, and has its formula in `update_rule`. The
    constructor's arguments are those of `OptimizerOptions`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        xla = compiled if self.jit_compile else lambda function: function
        self._is_finite = xla(is_finite)
        self._sum_of_squares = xla(_sum_of_squares)
        self._compiled_update = xla(self._update_variable)
        if self.record_statistics:
            self._gradient_norm = self.add_variable((), dtype="float32", name="gradient_norm")

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
        denominator: Tensor | float | None = None,
        scale: Tensor | None = None,
    ) -> Tensor | None:
        """One update with the gradients of this replica.

        Inside `strategy.run` every replica calls it with its own gradients; they are summed.
        Give either gradients of a loss that is already divided by the global batch (a stock
        `fit` does so), or local sums together with their `denominator`.

        Args:
            grads: List of tensors, `IndexedSlices` or None, one for each variable.
            trainable_variables: None means all those built.
            denominator: Scalar or None. This replica's part of what the summed gradient is
                divided by, such as its number of examples or of masked tokens. A sum of 0
                divides by 1.
            scale: Float32 scalar or None: `LossScaleOptimizer`'s, by which the loss was
                multiplied. With it, nothing changes and the update does not count where a
                gradient is inf or NaN on any replica.

        Returns:
            With a `scale`: whether all was finite, a boolean scalar that is the same on every
            replica. Else None.

        Raises:
            ValueError: outside of `strategy.run`, a variable that `build` has not seen, no
                gradient at all, or a denominator in addition to `gradient_accumulation_steps`.
        """
        if not len(grads):
            return None
        if denominator is not None and self.gradient_accumulation_steps:
            # Micro-batches would all count the same, however many examples each has.
            raise ValueError(
                "denominator goes with gradients that you have summed over micro-batches yourself, "
                "not with gradient_accumulation_steps"
            )
        grads, variables = self._matched(grads, trainable_variables)
        gradients, divisor = reduction.reduced(grads, denominator)
        finite = None
        if scale is not None:
            divisor = divisor * scale
            finite = ops.all(ops.stack([self._is_finite(g, divisor) for g in gradients]))
        if self.loss_scale_factor is not None:
            divisor = divisor * self.loss_scale_factor
        step = self._accumulate if self.gradient_accumulation_steps else self._step
        written = [*variables, *self.variables]
        backend.run_if(finite, lambda: step(gradients, variables, divisor), written)
        counted = 1 if finite is None else ops.cast(finite, self._iterations.dtype)
        # Its aggregation makes this a merge_call, which no condition may hold.
        self._iterations.assign_add(counted)
        return finite

    def _matched(
        self, grads: Sequence[Tensor | None], variables: Sequence[keras.Variable] | None
    ) -> tuple[list[Tensor], list[keras.Variable]]:
        """Gradients and their variables, built if need be, without those that have no gradient."""
        if variables is None:
            if not self.built:
                raise ValueError("the optimizer must be built before apply() without variables")
            variables = self._trainable_variables
        variables = list(variables)
        if len(grads) != len(variables):
            raise ValueError(f"{len(grads)} gradients for {len(variables)} variables")
        if not self.built:
            backend.check_may_build()
            self.build(variables)
        self.check_known(variables)
        return self._filter_empty_gradients(grads, variables)

    def _accumulate(
        self, gradients: list[Tensor], variables: list[keras.Variable], divisor: Tensor
    ) -> None:
        """Adds a micro-batch to the accumulators; the last one of an update makes the update."""
        steps = self.gradient_accumulation_steps
        is_last = ops.equal((self._iterations + 1) % steps, 0)
        accumulators = [self.slots_of(v)["accumulator"] for v in variables]
        sums = [
            ops.convert_to_tensor(a) + g / divisor
            for g, a in zip(gradients, accumulators, strict=True)
        ]
        for accumulator, total in zip(accumulators, sums, strict=True):
            accumulator.assign(ops.where(is_last, ops.zeros_like(total), total))
        backend.run_if(
            is_last,
            lambda: self._step(sums, variables, ops.cast(steps, "float32")),
            [*variables, *self.variables],
        )

    def _step(
        self, gradients: list[Tensor], variables: list[keras.Variable], divisor: Tensor
    ) -> None:
        """Clips by the global norm, updates every variable, then constraints and averages.

        Args:
            gradients: Dense, float32, the same on every replica.
            variables: One for each gradient.
            divisor: Float32 scalar by which the gradients are still to be divided.
        """
        iterations = ops.cast(self.iterations, self._iterations.dtype)
        learning_rate = ops.cast(self.learning_rate, "float32")
        divisor = ops.cast(divisor, "float32")
        if self.max_grad_norm is not None or self.record_statistics:
            norm = self._global_norm(gradients, variables, divisor)
        if self.record_statistics:
            self._gradient_norm.assign(norm)
        if self.max_grad_norm is not None:
            divisor = divisor * ops.maximum(1.0, norm / self.max_grad_norm)
        self._update(gradients, variables, learning_rate, iterations, divisor)
        for variable in variables:
            if getattr(variable, "constraint", None) is not None:
                variable.assign(variable.constraint(variable))
        if self.use_ema:
            self._average(variables, iterations)

    def _global_norm(
        self, gradients: list[Tensor], variables: list[keras.Variable], divisor: Tensor
    ) -> Tensor:
        """||gradients / divisor||, as a float32 scalar."""
        if self._updates_in_place(variables):
            norm = ops.sqrt(sum(backend.sum_of_squares(g) for g in gradients)) / divisor
            # The squares of scaled gradients may be too large for float32.
            return ops.cond(
                ops.isfinite(norm),
                lambda: norm,
                lambda: ops.sqrt(sum(backend.sum_of_squares(g / divisor) for g in gradients)),
            )
        return ops.sqrt(sum(self._sum_of_squares(g, divisor) for g in gradients))

    def _updates_in_place(self, variables: list[keras.Variable]) -> bool:
        """Whether TensorFlow's own kernels take the place of what XLA compiles."""
        return self.jit_compile and backend.all_update_in_place(variables)

    def _update(
        self,
        gradients: list[Tensor],
        variables: list[keras.Variable],
        learning_rate: Tensor,
        iterations: Tensor,
        divisor: Tensor,
    ) -> None:
        """Updates every variable by `update_rule`."""
        names = [*self.slot_names, "first_step"]
        names += ["trust_ratio"] if self.record_statistics else []
        for gradient, variable in zip(gradients, variables, strict=True):
            slots = self.slots_of(variable)
            decay, adapts = self._options_of(variable)
            self._compiled_update(
                gradient,
                backend.local(variable),
                {name: backend.local(slots[name]) for name in names},
                learning_rate,
                iterations,
                divisor,
                decay=decay,
                adapts=adapts,
            )

    def _options_of(self, variable: keras.Variable) -> tuple[float, bool]:
        """The coefficient of a variable's decay, and whether its rate is adapted."""
        path = self.path_of(variable)
        decay = self.weight_decay if self.exclusions.has_decay(path) else 0.0
        return decay, self.adapts_layers and self.exclusions.is_adapted(path)

    def _update_variable(  # the whole of it is what XLA compiles, once a shape
        self,
        gradient: Tensor,
        variable: keras.Variable,
        slots: dict[str, keras.Variable],
        learning_rate: Tensor,
        iterations: Tensor,
        divisor: Tensor,
        *,
        decay: float,
        adapts: bool,
    ) -> None:
        """Divides, clips this gradient by itself, and assigns what the rule says."""
        gradient = self._clip(gradient / divisor)
        weight = ops.cast(variable, "float32")
        state = {name: ops.convert_to_tensor(slots[name]) for name in self.slot_names}
        age = ops.cast(iterations - slots["first_step"], "float32") + 1.0
        weight, state, ratio = self.update_rule(
            weight, gradient, state, age, learning_rate, decay, adapts
        )
        if self.record_statistics:
            slots["trust_ratio"].assign(ratio.as_row())
        for name, value in state.items():
            slots[name].assign(value)
        variable.assign(ops.cast(weight, variable.dtype))

    def _clip(self, gradient: Tensor) -> Tensor:
        if self.clipnorm is not None:
            return gradient / ops.maximum(1.0, norm(gradient) / self.clipnorm)
        if self.clipvalue is not None:
            return ops.clip(gradient, -self.clipvalue, self.clipvalue)
        return gradient

    def update_rule(
        self, x: Tensor, g: Tensor, slots: Slots, t: Tensor, lr: Tensor, decay: float, adapts: bool
    ) -> tuple[Tensor, Slots, TrustRatio]:
        """The formula of one variable.

        Args:
            x: Float32 tensor, the weights.
            g: Float32 tensor of the same shape, the reduced and clipped gradient.
            slots: `{slot name: float32 tensor}`, all of that shape.
            t: Float32 scalar, the number of this update for this variable, from 1.
            lr: Float32 scalar, the learning rate.
            decay: Coefficient of the weights; 0 where they are excluded from decay.
            adapts: Whether the rate is adapted to this variable.

        Returns:
            The new weights, `{slot name: new tensor}`, and the `TrustRatio`, for the statistics.
        """
        raise NotImplementedError

    def _average(self, variables: list[keras.Variable], iterations: Tensor) -> None:
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

    def _overwrite_model_variables_with_average_value(
        self, trainable_variables: Sequence[keras.Variable]
    ) -> None:
        """Behind Keras' `finalize_variable_values`; by path instead of by order."""
        for variable in trainable_variables:
            average = ops.convert_to_tensor(self.slots_of(variable)["average"])
            variable.assign(ops.cast(average, variable.dtype))

    @property
    def _model_variables_moving_average(self) -> list[keras.Variable]:
        """What Keras' callback SwapEMAWeights looks for, in the order it expects."""
        if not self.use_ema:
            raise AttributeError("_model_variables_moving_average needs use_ema=True")
        return [self.slots_of(v)["average"] for v in self._trainable_variables]

    def trust_ratios(self) -> dict[str, TrustRatio]:
        """`{path: TrustRatio}` of the last update, as Python floats.

        A variable that never had a gradient is left out.

        Raises:
            ValueError: without `record_statistics=True`.
        """
        self._check_recording("trust_ratios")
        numbers = {
            path: ops.convert_to_numpy(slots["trust_ratio"]) for path, slots in self.all_slots()
        }
        # A ratio is positive once it was written: the slot begins with zeros.
        return {path: TrustRatio(*map(float, row)) for path, row in numbers.items() if row[2] > 0}

    def gradient_norm(self) -> float:
        """The global norm of the last update's reduced gradient before clipping.

        Raises:
            ValueError: without `record_statistics=True`.
        """
        self._check_recording("gradient_norm")
        return float(ops.convert_to_numpy(self._gradient_norm))

    def _check_recording(self, name: str) -> None:
        if not self.record_statistics:
            raise ValueError(f"{name}() needs an optimizer with record_statistics=True")


def norm(x: Tensor) -> Tensor:
    """||x||_2, as a float32 scalar.

    Squares must fit float32: elements between about 1e-19 and 1e19 in magnitude.
    """
    return ops.sqrt(ops.sum(ops.square(x)))


def _sum_of_squares(gradient: Tensor, divisor: Tensor) -> Tensor:
    """||gradient / divisor||^2, as a float32 scalar."""
    return ops.sum(ops.square(gradient / divisor))


def is_finite(gradient: Tensor, divisor: Tensor) -> Tensor:
    """Whether no element of `gradient / divisor` is inf or NaN, as a boolean scalar."""
    return ops.all(ops.isfinite(gradient / divisor))

"""Dynamic loss scaling for float16 that decides on the reduced gradients."""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import keras
from keras import ops

from tfbert.keras_settings import keras_defaults
from tfbert.optimizers import backend, reduction
from tfbert.optimizers.application import ReducingOptimizer, is_finite
from tfbert.optimizers.carrying import carry_over
from tfbert.optimizers.slots import SavedState, load_by_key, save_by_key
from tfbert.types import Tensor
from tfbert.xla import compiled


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer that updates the weights: the one inside of a loss scaler, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


@keras.saving.register_keras_serializable(package="tfbert")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Scales the loss, so that float16 gradients do not underflow, and skips what overflows.

    Micikevicius et al., arXiv 1710.03740, section 3.2, on any number of replicas: gradients are
    summed over replicas, divided by the scale, and tested. With an inf or a NaN on any replica
    no replica updates, and the scale is halved, though not below `minimum_scale`. After
    `dynamic_growth_steps` updates without one it is doubled.

    It is a subclass of Keras' class of the same name, so that `compile` does not wrap it again
    under a `mixed_float16` policy.

    Args:
        inner_optimizer: `tfbert.AdamW`, `tfbert.LAMB`, `tfbert.LARS` or one of Keras' optimizers.
            Under a strategy Keras' own clip the reduced gradient here.
        initial_scale: Float, at least `minimum_scale`.
        dynamic_growth_steps: Int, at least 1. Updates without overflow before a doubling.
        minimum_scale: Float, positive. The floor.

    Raises:
        ValueError: a number out of its range, an option of Keras' base optimizer, which
            belongs to the inner optimizer, or `gradient_accumulation_steps` or
            `ema_overwrite_frequency` in one of Keras' own, which fail under a strategy.
        TypeError: `inner_optimizer` is not an optimizer, or scales by itself.

    Example:

        keras.mixed_precision.set_global_policy("mixed_float16")
        model.compile(optimizer=tfbert.LossScaleOptimizer(tfbert.LAMB(1e-3)), ...)
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        minimum_scale: float = 1.0,
        name: str = "loss_scale_optimizer",
        **kwargs: Any,
    ) -> None:
        if not minimum_scale > 0:
            raise ValueError(f"minimum_scale must be positive: {minimum_scale}")
        if not initial_scale >= minimum_scale:
            raise ValueError(f"initial_scale is below minimum_scale={minimum_scale}")
        if not dynamic_growth_steps >= 1:
            raise ValueError(f"dynamic_growth_steps must be at least 1: {dynamic_growth_steps}")
        kind = type(inner_optimizer).__name__
        scaler = isinstance(inner_optimizer, keras.optimizers.LossScaleOptimizer)
        if scaler or not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise TypeError(f"inner_optimizer must be an optimizer without loss scaling: {kind}")
        for option in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
            ours = isinstance(inner_optimizer, ReducingOptimizer)
            if not ours and getattr(inner_optimizer, option, None):
                raise ValueError(
                    f"{kind}({option}=...) fails under a strategy: use tfbert.AdamW, tfbert.LAMB "
                    "or tfbert.LARS"
                )
        with keras_defaults():
            super().__init__(inner_optimizer, initial_scale, dynamic_growth_steps, name, **kwargs)
        self.minimum_scale = float(minimum_scale)
        self._saved_state = SavedState()
        self._is_finite = compiled(is_finite)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the scale and its counters once, and the inner optimizer's state.

        As with `LAMB.build`, a second call adds the state of further variables; one of Keras' own
        optimizers inside takes no further ones.
        """
        variables = list(variables)
        if self.built:
            self.inner_optimizer.build(variables)
            # In place: to assign a list would make Keras track the model's variables as ours.
            self._trainable_variables.clear()
            self._trainable_variables.extend(variables)
            return
        with backend.slot_scope([*variables, self._iterations][0], self._iterations):
            super().build(variables)
            self.skipped_steps = self.add_variable((), dtype="int", name="skipped_steps")
        self._saved_state.give_to(self)

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
        denominator: Tensor | float | None = None,
    ) -> None:
        """One update with this replica's gradients of the scaled loss, or none.

        Args:
            grads, trainable_variables, denominator: As in `ReducingOptimizer.apply`.
        """
        if not len(grads):
            return
        if not self.built:
            if trainable_variables is None:
                raise ValueError("the optimizer must be built before apply() without variables")
            backend.check_may_build()
            self.build(trainable_variables)
        if isinstance(self.inner_optimizer, ReducingOptimizer):
            finite = self.inner_optimizer.apply(
                grads, trainable_variables, denominator, scale=self.dynamic_scale
            )
        else:
            finite = self._apply_stock(grads, trainable_variables, denominator)
        self._update_scale(finite)

    def _apply_stock(
        self,
        grads: Sequence[Tensor | None],
        variables: Sequence[keras.Variable] | None,
        denominator: Tensor | float | None,
    ) -> Tensor:
        """`ReducingOptimizer.apply` with an optimizer of Keras' own, which only updates."""
        if variables is None:
            variables = self._trainable_variables
        grads, variables = self._filter_empty_gradients(grads, variables)
        gradients, divisor = reduction.reduced(grads, denominator)
        divisor = divisor * self.dynamic_scale
        finite = ops.all(ops.stack([self._is_finite(g, divisor) for g in gradients]))
        gradients = [g / divisor for g in gradients]
        reduction.apply_stock(self.inner_optimizer, gradients, variables, finite)
        return finite

    def _update_scale(self, finite: Tensor) -> None:
        counter, scale = (ops.convert_to_tensor(v) for v in (self.step_counter, self.dynamic_scale))
        grows = ops.equal(counter, self.dynamic_growth_steps - 1)
        halved = ops.maximum(scale * 0.5, self.minimum_scale)
        # float32 ends at 2^128: a scale of inf would stay inf.
        doubled = ops.minimum(scale * 2.0, 2.0**127)
        self.dynamic_scale.assign(ops.where(finite, ops.where(grows, doubled, scale), halved))
        restart = ops.logical_or(grows, ops.logical_not(finite))
        self.step_counter.assign(ops.where(restart, ops.zeros_like(counter), counter + 1))
        skipped = ops.convert_to_tensor(self.skipped_steps)
        self.skipped_steps.assign(ops.where(finite, skipped, skipped + 1))

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[Tensor],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The same update for JAX; Keras' own version knows neither a floor nor a counter."""
        return keras.optimizers.Optimizer.stateless_apply(
            self, optimizer_variables, grads, trainable_variables
        )

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[keras.Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """As in the inner optimizer, to which it goes."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def carry_over(
        self,
        source: keras.optimizers.Optimizer,
        rename: Callable[[str], str | None] | None = None,
    ) -> list[str]:
        """`tfbert.optimizers.carrying.carry_over` to this optimizer."""
        if not isinstance(source, LossScaleOptimizer):
            raise TypeError(f"carry_over from {type(source).__name__} to {type(self).__name__}")
        fresh = carry_over(source.inner_optimizer, self.inner_optimizer, rename)
        for key, variable in self._by_key().items():
            variable.assign(ops.convert_to_tensor(source._by_key()[key]))
        return fresh

    def _by_key(self) -> dict[str, keras.Variable]:
        names = ("dynamic_scale", "step_counter", "skipped_steps")
        return {name: getattr(self, name) for name in names} if self.built else {}

    def save_own_variables(self, store: MutableMapping) -> None:
        """Writes scale and counters; Keras saves the inner optimizer by itself."""
        save_by_key(self._by_key(), store)
        self._saved_state.write(store)

    def load_own_variables(self, store: MutableMapping) -> None:
        """Reads what `save_own_variables` wrote.

        Raises:
            ValueError: the store is of another optimizer.
        """
        self._saved_state.values = load_by_key(self._by_key(), store, self.name)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        """What tf.train.Checkpoint saves: the same keys, and the inner optimizer."""
        return {**self._by_key(), "inner_optimizer": self.inner_optimizer}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the inner optimizer as a configuration."""
        return {**super().get_config(), "minimum_scale": self.minimum_scale}

"""LARS: momentum at a rate that is adapted layer by layer; the LAMB paper's baseline."""

from collections.abc import Sequence
from typing import Any

import keras

from tfbert.optimizers.application import ReducingOptimizer, Slots, TrustRatio
from tfbert.optimizers.lamb import trust_ratio
from tfbert.optimizers.options import NORMS_AND_BIASES
from tfbert.types import Tensor


@keras.saving.register_keras_serializable(package="tfbert")
class LARS(ReducingOptimizer):
    """LARS as the LAMB paper has it (You et al., arXiv 1904.00962, Algorithm 1).

    For every variable x with the reduced gradient g:

        (1)  m = momentum m + (1 - momentum) (g + weight_decay x)
        (2)  x = x - learning_rate phi(||x||) / ||m|| m

    The ratio is 1 where phi(||x||) or ||m|| is 0, before any bounds on it. The first LARS paper
    (arXiv 1708.03888) differs: it takes the ratio of the raw gradient, times 0.001, before the
    momentum.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        momentum: Float from 0 to below 1.
        weight_decay: Float, at least 0.
        exclude_from_weight_decay, exclude_from_layer_adaptation: As in `LAMB`.
        **kwargs: As in `LAMB`.

    Raises:
        ValueError: a number out of its range, and as in `OptimizerOptions`.
    """

    slot_names = ("momentum",)

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        momentum: float = 0.9,
        weight_decay: float | None = 0.01,
        exclude_from_weight_decay: Sequence[str] | None = NORMS_AND_BIASES,
        exclude_from_layer_adaptation: Sequence[str] | None = None,
        *,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1: {momentum}")
        super().__init__(
            learning_rate,
            weight_decay,
            exclude_from_weight_decay,
            exclude_from_layer_adaptation,
            name=name,
            **kwargs,
        )
        self.momentum = float(momentum)

    def update_rule(
        self, x: Tensor, g: Tensor, slots: Slots, t: Tensor, lr: Tensor, decay: float, adapts: bool
    ) -> tuple[Tensor, Slots, TrustRatio]:
        """Formulas (1) and (2); arguments as in `ReducingOptimizer.update_rule`."""
        if decay:
            g = g + decay * x
        m = self.momentum * slots["momentum"] + (1.0 - self.momentum) * g  # (1)
        ratio = trust_ratio(x, m, adapts, self)
        return x - lr * ratio.trust_ratio * m, {"momentum": m}, ratio  # (2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}

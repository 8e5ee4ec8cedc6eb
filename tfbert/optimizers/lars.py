"""LARS: momentum at a rate that is adapted layer by layer; the LAMB paper's baseline."""

import keras

from tfbert.optimizers.exclusions import NORMS_AND_BIASES
from tfbert.optimizers.layerwise import LayerwiseOptimizer


@keras.saving.register_keras_serializable(package="tfbert")
class LARS(LayerwiseOptimizer):
    """LARS as the LAMB paper has it (You et al., arXiv 1904.00962, Algorithm 1).

    For every variable x with the reduced gradient g:

        m = momentum m + (1 - momentum) (g + weight_decay x)
        x = x - learning_rate phi(||x||) / ||m|| m

    The ratio is 1 where phi(||x||) or ||m|| is 0, before any bounds on it. The first LARS paper
    (arXiv 1708.03888) differs: it takes the ratio of the raw gradient, times 0.001, before the
    momentum.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        momentum: Float from 0 to below 1.
        weight_decay: Float, at least 0.
        exclude_from_weight_decay, exclude_from_layer_adaptation, max_grad_norm,
            weight_norm_bounds, trust_ratio_bounds, record_statistics, jit_compile, **kwargs:
            as in `LayerwiseOptimizer`.

    Raises:
        ValueError: a number out of its range, and as in `LayerwiseOptimizer`.
    """

    slot_names = ("momentum",)

    def __init__(
        self,
        learning_rate=1e-3,
        momentum=0.9,
        weight_decay=0.01,
        exclude_from_weight_decay=NORMS_AND_BIASES,
        exclude_from_layer_adaptation=None,
        max_grad_norm=None,
        weight_norm_bounds=None,
        trust_ratio_bounds=None,
        record_statistics=False,
        jit_compile=True,
        name="lars",
        **kwargs,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1: {momentum}")
        super().__init__(
            learning_rate,
            weight_decay,
            exclude_from_weight_decay,
            exclude_from_layer_adaptation,
            max_grad_norm,
            weight_norm_bounds,
            trust_ratio_bounds,
            record_statistics,
            jit_compile,
            name=name,
            **kwargs,
        )
        self.momentum = float(momentum)

    def update_direction(self, gradient, weight, slots, age, decay):
        """`m`; see this class and `LayerwiseOptimizer`."""
        if decay:
            gradient = gradient + decay * weight
        momentum = self.momentum * slots["momentum"] + (1.0 - self.momentum) * gradient
        return momentum, {"momentum": momentum}

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "momentum": self.momentum}

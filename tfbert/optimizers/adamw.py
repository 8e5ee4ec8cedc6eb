"""AdamW: Adam with decoupled weight decay, reduced, clipped and compiled as LAMB is."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfbert.optimizers.backend import variable_path
from tfbert.optimizers.lamb import AdamMoments
from tfbert.optimizers.options import NORMS_AND_BIASES, OPTIONS_OF_ADAPTATION


@keras.saving.register_keras_serializable(package="tfbert")
class AdamW(AdamMoments):
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101, Algorithm 2).

    For every variable x with the reduced gradient g, at its update number t:

        m = beta_1 m + (1 - beta_1) g               m^ = m / (1 - beta_1^t)
        v = beta_2 v + (1 - beta_2) g^2             v^ = v / (1 - beta_2^t)
        x = x - learning_rate (m^ / (sqrt(v^) + epsilon) + weight_decay x)

    This is `LAMB` with a trust ratio of 1 everywhere. What differs from Keras' `AdamW`: gradients
    are summed over the replicas before they are clipped, norms and biases do not decay, state
    follows the variable's path, and an update is compiled. Keras adds `epsilon` before the
    correction of the bias, where the paper and this class add it after.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        beta_1, beta_2: Floats from 0 to below 1.
        epsilon: Float, positive. 1e-6 as BERT was trained; Keras' AdamW has 1e-7.
        weight_decay: Float, at least 0; 0 makes it Adam.
        bias_correction: Bool. Without it m^ = m and v^ = v, as BERT was trained.
        exclude_from_weight_decay: List of regular expressions, searched in a variable's path;
            a match has no decay. None or `[]` means no variable.
        **kwargs: `max_grad_norm=None`, `record_statistics=False`, `jit_compile=True` and Keras'
            own, as in `OptimizerOptions`.

    Raises:
        TypeError: an option of layer adaptation.
        ValueError: a number out of its range, and as in `OptimizerOptions`.

    Example:

        model.compile(optimizer=tfbert.AdamW(5e-5), loss="sparse_categorical_crossentropy")
    """

    adapts_layers = False

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float | None = 0.01,
        bias_correction: bool = True,
        exclude_from_weight_decay: Sequence[str] | None = NORMS_AND_BIASES,
        **kwargs: Any,
    ) -> None:
        for option in OPTIONS_OF_ADAPTATION:
            if option in kwargs:
                raise TypeError(f"AdamW adapts no layer's rate, so it takes no {option}")
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
            bias_correction,
            exclude_from_weight_decay or [],
            **kwargs,
        )

    def left_without_gradient(self, variable: keras.Variable, updates: int) -> float:
        """What the first updates have left of weights whose gradient was always 0: a factor.

        Their moments stay 0, and what remains of the rule is their decay:

            x = x - learning_rate weight_decay x

        so that the factor is the product of `1 - learning_rate weight_decay` over these updates.

        Args:
            variable: A weight of the model.
            updates: How many, without those that an overflow has skipped.

        Returns:
            Float, the product in float64.

        Raises:
            ValueError: the rates are those of no schedule, so that the past ones are not known.
        """
        if not (self.weight_decay and self.exclusions.has_decay(variable_path(variable))):
            return 1.0
        if not isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError("the rates of past updates are known of a schedule only")
        rates = ops.convert_to_numpy(self._learning_rate(np.arange(updates)))
        return float(np.prod(1.0 - self.weight_decay * rates.astype(np.float64)))

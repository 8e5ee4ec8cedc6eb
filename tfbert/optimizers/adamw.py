"""AdamW: Adam with decoupled weight decay, reduced, clipped and compiled as LAMB is."""

import keras

from tfbert.optimizers.exclusions import NORMS_AND_BIASES
from tfbert.optimizers.moments import AdamMoments

_OF_ADAPTATION = ("exclude_from_layer_adaptation", "weight_norm_bounds", "trust_ratio_bounds")


@keras.saving.register_keras_serializable(package="tfbert")
class AdamW(AdamMoments):
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101, Algorithm 2).

    For every variable x with the reduced gradient g, at its update number t:

        m = beta_1 m + (1 - beta_1) g               m^ = m / (1 - beta_1^t)
        v = beta_2 v + (1 - beta_2) g^2             v^ = v / (1 - beta_2^t)
        x = x - learning_rate (m^ / (sqrt(v^) + epsilon) + weight_decay x)

    This is `LAMB` with a trust ratio of 1 everywhere. What differs from Keras' `AdamW`: gradients
    are summed over the replicas before they are clipped, norms and biases do not decay, state
    follows the variable's path, and XLA makes one pass of an update. Keras adds `epsilon` before
    the correction of the bias, where the paper and this class add it after.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        beta_1: Float from 0 to below 1.
        beta_2: Float from 0 to below 1.
        epsilon: Float, positive. 1e-6 as BERT was trained; Keras' AdamW has 1e-7.
        weight_decay: Float, at least 0; 0 makes it Adam.
        bias_correction: Bool. Without it m^ = m and v^ = v, as BERT was trained.
        exclude_from_weight_decay: List of regular expressions, searched in a variable's path;
            a match has no decay. None or `[]` means no variable.
        max_grad_norm, record_statistics, jit_compile, **kwargs: as in `LayerwiseOptimizer`.

    Raises:
        TypeError: an option of layer adaptation.
        ValueError: a number out of its range, and as in `LayerwiseOptimizer`.

    Example:

        model.compile(optimizer=tfbert.AdamW(5e-5), loss="sparse_categorical_crossentropy")
    """

    def __init__(
        self,
        learning_rate=1e-3,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        weight_decay=0.01,
        bias_correction=True,
        exclude_from_weight_decay=NORMS_AND_BIASES,
        max_grad_norm=None,
        record_statistics=False,
        jit_compile=True,
        name="adamw",
        **kwargs,
    ):
        for option in _OF_ADAPTATION:
            if option in kwargs:
                raise TypeError(f"AdamW adapts no layer's rate, so it takes no {option}")
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            bias_correction,
            weight_decay=weight_decay,
            # None would mean "as the other list".
            exclude_from_weight_decay=exclude_from_weight_decay or [],
            exclude_from_layer_adaptation=[""],  # matches every path
            max_grad_norm=max_grad_norm,
            weight_norm_bounds=None,
            trust_ratio_bounds=None,
            record_statistics=record_statistics,
            jit_compile=jit_compile,
            name=name,
            **kwargs,
        )

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        for option in _OF_ADAPTATION:
            del config[option]
        return config

"""LAMB: Adam's direction with decay, at a rate that is adapted layer by layer."""

import keras

from tfbert.optimizers.exclusions import NORMS_AND_BIASES
from tfbert.optimizers.moments import AdamMoments


@keras.saving.register_keras_serializable(package="tfbert")
class LAMB(AdamMoments):
    """LAMB as the paper has it (You et al., arXiv 1904.00962, Algorithm 2).

    For every variable x with the reduced gradient g, at its update number t:

        m = beta_1 m + (1 - beta_1) g               m^ = m / (1 - beta_1^t)
        v = beta_2 v + (1 - beta_2) g^2             v^ = v / (1 - beta_2^t)
        u = m^ / (sqrt(v^) + epsilon) + weight_decay x
        x = x - learning_rate phi(||x||) / ||u|| u

    The ratio is 1 where phi(||x||) or ||u|| is 0, before any bounds on it. All arithmetic and state
    is float32, whatever the variable's dtype: two slots a parameter.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        beta_1: Float from 0 to below 1.
        beta_2: Float from 0 to below 1.
        epsilon: Float, positive. The paper's 1e-6; Keras' Lamb has 1e-7.
        weight_decay: Float, at least 0; inside the update and inside its norm.
        bias_correction: Bool. Without it m^ = m and v^ = v.
        exclude_from_weight_decay, exclude_from_layer_adaptation, max_grad_norm,
            weight_norm_bounds, trust_ratio_bounds, record_statistics, jit_compile, **kwargs:
            as in `LayerwiseOptimizer`.

    Raises:
        ValueError: a number out of its range, and as in `LayerwiseOptimizer`.

    Example:

        model.compile(optimizer=tfbert.LAMB(1e-3), loss="sparse_categorical_crossentropy")
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
        exclude_from_layer_adaptation=None,
        max_grad_norm=None,
        weight_norm_bounds=None,
        trust_ratio_bounds=None,
        record_statistics=False,
        jit_compile=True,
        name="lamb",
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            bias_correction,
            weight_decay=weight_decay,
            exclude_from_weight_decay=exclude_from_weight_decay,
            exclude_from_layer_adaptation=exclude_from_layer_adaptation,
            max_grad_norm=max_grad_norm,
            weight_norm_bounds=weight_norm_bounds,
            trust_ratio_bounds=trust_ratio_bounds,
            record_statistics=record_statistics,
            jit_compile=jit_compile,
            name=name,
            **kwargs,
        )

    @classmethod
    def paper(cls, learning_rate, **kwargs):
        """The paper's form, as in the authors' code and TensorFlow Addons 0.23.

        No clipping, phi the identity, decay 0.01, epsilon 1e-6; norms and biases without decay
        and without adaptation. You et al., arXiv 1904.00962, Algorithm 2.

        Args:
            learning_rate: As in the constructor; see `schedules.untuned_lamb`.
            **kwargs: Other arguments of the constructor.
        """
        return cls(learning_rate, **kwargs)

    @classmethod
    def mlperf(cls, learning_rate, **kwargs):
        """MLPerf's form: the paper's, after clipping the reduced gradient to a global norm of 1.

            g = g / max(1, ||g||)        with ||g|| over all variables

        MLCommons training reference, BERT, `optimization.py`.

        Args:
            learning_rate: As in the constructor.
            **kwargs: Other arguments of the constructor.
        """
        return cls(learning_rate, max_grad_norm=1.0, **kwargs)

    @classmethod
    def nvlamb(cls, learning_rate, weight_decay=0.01, **kwargs):
        """NVIDIA's NVLAMB: pre-normalization, and adaptation only where there is decay.

            g = g / max(1, ||g||)        with ||g|| over all variables
            ratio = ||x|| / ||u|| where x decays, else 1

        It differs from MLPerf's form only where `weight_decay` is 0: then nothing is adapted.
        NVIDIA DeepLearningExamples, BERT (apex `FusedLAMB`).

        Args:
            learning_rate: As in the constructor.
            weight_decay: Float, at least 0.
            **kwargs: Other arguments of the constructor; which variables are adapted follows
                from `exclude_from_weight_decay`.

        Raises:
            ValueError: `exclude_from_layer_adaptation` is given.
        """
        if "exclude_from_layer_adaptation" in kwargs:
            raise ValueError("NVLAMB adapts what decays: use exclude_from_weight_decay")
        return cls(
            learning_rate,
            weight_decay=weight_decay,
            max_grad_norm=1.0,
            exclude_from_layer_adaptation=None if weight_decay else [""],
            **kwargs,
        )

"""LAMB: Adam's direction with decay, at a rate that is adapted layer by layer.

The rule from top to bottom: `LAMB` says it in formulas, `AdamMoments.update_rule` computes it for
one variable, `trust_ratio` is its last factor. On a CPU under TensorFlow
`AdamMoments._update` computes the same with fewer passes over memory. What comes before
(the sum over replicas, loss scale, clipping) is in `application`.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfbert.optimizers import backend
from tfbert.optimizers.application import ReducingOptimizer, Slots, TrustRatio, norm
from tfbert.optimizers.options import NORMS_AND_BIASES, OptimizerOptions
from tfbert.types import Tensor


class AdamMoments(ReducingOptimizer):
    """All of `LAMB` and `AdamW` except whether a variable adapts. Arguments as in `LAMB`."""

    slot_names = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float | None = 0.01,
        bias_correction: bool = True,
        exclude_from_weight_decay: Sequence[str] | None = NORMS_AND_BIASES,
        exclude_from_layer_adaptation: Sequence[str] | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        for beta_name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{beta_name} must be from 0 to below 1: {beta}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive: {epsilon}")
        super().__init__(
            learning_rate,
            weight_decay,
            exclude_from_weight_decay,
            exclude_from_layer_adaptation,
            name=name or type(self).__name__.lower(),
            **kwargs,
        )
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.epsilon = float(epsilon)
        self.bias_correction = bool(bias_correction)

    def update_rule(
        self, x: Tensor, g: Tensor, slots: Slots, t: Tensor, lr: Tensor, decay: float, adapts: bool
    ) -> tuple[Tensor, Slots, TrustRatio]:
        """Formulas (1) to (6) of `LAMB`; arguments as in `ReducingOptimizer.update_rule`."""
        m = self.beta_1 * slots["momentum"] + (1.0 - self.beta_1) * g  # (1)
        v = self.beta_2 * slots["velocity"] + (1.0 - self.beta_2) * ops.square(g)  # (2)
        m_hat, v_hat = m, v
        if self.bias_correction:
            m_hat = m / _bias_correction(self.beta_1, t)  # (3)
            v_hat = v / _bias_correction(self.beta_2, t)  # (4)
        u = m_hat / (ops.sqrt(v_hat) + self.epsilon)  # (5)
        if decay:
            u = u + decay * x
        ratio = trust_ratio(x, u, adapts, self)
        x = x - lr * ratio.trust_ratio * u  # (6)
        return x, {"momentum": m, "velocity": v}, ratio

    def _update(
        self,
        gradients: list[Tensor],
        variables: list[keras.Variable],
        learning_rate: Tensor,
        iterations: Tensor,
        divisor: Tensor,
    ) -> None:
        """Formulas (1) to (6) of `LAMB` by `backend.apply_adam`: x - rate m / (sqrt(v) + epsilon).

        What corrects the bias stands in its rate and its epsilon:

            m^ / (sqrt(v^) + epsilon) = c m / (sqrt(v) + c' epsilon)
            c = c' / (1 - beta_1^t)    c' = sqrt(1 - beta_2^t)

        Where TensorFlow has no such kernel, by `update_rule`.
        """
        if not self._updates_in_place(variables):
            super()._update(gradients, variables, learning_rate, iterations, divisor)
            return
        slots = [self.slots_of(variable) for variable in variables]
        first_steps = ops.stack([backend.local(s["first_step"]) for s in slots])
        ages = ops.cast(iterations - first_steps, "float32") + 1.0
        m_correction, v_correction = (
            backend.adam_correction(beta, ages, self.bias_correction)
            for beta in (self.beta_1, self.beta_2)
        )
        roots = ops.sqrt(v_correction)
        rates, epsilons = ops.unstack(roots / m_correction), ops.unstack(self.epsilon * roots)
        is_divided = backend.known_value(divisor) != 1.0
        for gradient, variable, own, rate, epsilon in zip(
            gradients, variables, slots, rates, epsilons, strict=True
        ):
            if is_divided:
                gradient = gradient / divisor
            gradient = self._clip(gradient)
            decay, adapts = self._options_of(variable)
            x, m, v = (backend.local(s) for s in (variable, own["momentum"], own["velocity"]))
            options = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": epsilon}
            if not (adapts or self.record_statistics):
                if decay:
                    x.assign(x * (1.0 - learning_rate * decay))
                backend.apply_adam(x, m, v, gradient, rate=learning_rate * rate, **options)
                continue
            # The variable itself is where -u is computed, so that no memory is needed for it.
            weights = x.read_value()
            try:
                x.assign(weights * -decay if decay else ops.zeros_like(weights))
                backend.apply_adam(x, m, v, gradient, rate=rate, **options)
                update = x.read_value()
            finally:  # also where somebody interrupts a loop that runs eagerly
                x.assign(weights)
            x_norm, u_norm = (ops.sqrt(backend.sum_of_squares(t)) for t in (weights, update))
            ratio = ratio_of_norms(x_norm, u_norm, adapts, self)
            backend.subtract(x, -learning_rate * ratio.trust_ratio, update)
            if self.record_statistics:
                backend.local(own["trust_ratio"]).assign(ratio.as_row())

    def _updates_in_place(self, variables: list[keras.Variable]) -> bool:
        # The kernel's betas are float32: one that rounds to 1 would keep the moments at 0.
        rounds_to_one = np.float32(max(self.beta_1, self.beta_2)) == 1.0
        return not rounds_to_one and super()._updates_in_place(variables)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
        }


def _bias_correction(beta: float, t: Tensor) -> Tensor | float:
    """1 - beta^t; a float32 power would lose the digits of 1 - 0.999."""
    if not beta:
        return 1.0
    return -ops.expm1(t * math.log(beta))


def trust_ratio(x: Tensor, u: Tensor, adapts: bool, options: OptimizerOptions) -> TrustRatio:
    """phi(||x||) / ||u||, or 1 where either of the two is 0 or the variable does not adapt.

    Args:
        x: Float32 tensor, the weights.
        u: Float32 tensor of the same shape, their update.
        adapts: Whether the rate is adapted to this variable.
        options: Of the optimizer. `weight_norm_bounds`: phi(z) = min(max(z, low), high), section
            3.2 of the paper; None is the identity of the authors' code. `trust_ratio_bounds`: the
            ratio is clipped to them; `(0, 1)` is LAMBC (Fong et al., arXiv 2011.13584).
    """
    if not (adapts or options.record_statistics):
        return TrustRatio(None, None, 1.0)
    return ratio_of_norms(norm(x), norm(u), adapts, options)


def ratio_of_norms(
    x_norm: Tensor, u_norm: Tensor, adapts: bool, options: OptimizerOptions
) -> TrustRatio:
    """`trust_ratio` of ||x|| and ||u||, which are float32 scalars."""
    if not adapts:
        return TrustRatio(x_norm, u_norm, 1.0)
    phi = x_norm
    if options.weight_norm_bounds is not None:
        phi = ops.clip(phi, *options.weight_norm_bounds)
    is_defined = ops.logical_and(phi > 0, u_norm > 0)
    ratio = ops.where(is_defined, phi / ops.where(is_defined, u_norm, 1.0), 1.0)
    if options.trust_ratio_bounds is not None:
        ratio = ops.clip(ratio, *options.trust_ratio_bounds)
    return TrustRatio(x_norm, u_norm, ratio)


@keras.saving.register_keras_serializable(package="tfbert")
class LAMB(AdamMoments):
    """LAMB as the paper has it (You et al., arXiv 1904.00962, Algorithm 2, in its order).

    For every variable x with the reduced gradient g, at its update number t:

        (1)  m = beta_1 m + (1 - beta_1) g
        (2)  v = beta_2 v + (1 - beta_2) g^2
        (3)  m^ = m / (1 - beta_1^t)
        (4)  v^ = v / (1 - beta_2^t)
        (5)  u = m^ / (sqrt(v^) + epsilon) + weight_decay x
        (6)  x = x - learning_rate phi(||x||) / ||u|| u

    The ratio is 1 where phi(||x||) or ||u|| is 0, before any bounds on it. All arithmetic and state
    is float32, whatever the variable's dtype: two slots a parameter.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        beta_1, beta_2: Floats from 0 to below 1.
        epsilon: Float, positive. The paper's 1e-6; Keras' Lamb has 1e-7.
        weight_decay: Float, at least 0; inside the update and inside its norm.
        bias_correction: Bool. Without it m^ = m and v^ = v.
        exclude_from_weight_decay: List of regular expressions, searched in a variable's path;
            a match has no decay. None means "as the other list", `[]` means no variable.
        exclude_from_layer_adaptation: Likewise; a match has a trust ratio of 1.
        **kwargs: `max_grad_norm=None`, `weight_norm_bounds=None`, `trust_ratio_bounds=None`,
            `record_statistics=False`, `jit_compile=True` and Keras' own, as in
            `OptimizerOptions`.

    Raises:
        ValueError: a number out of its range, and as in `OptimizerOptions`.

    Example:

        model.compile(optimizer=tfbert.LAMB(1e-3), loss="sparse_categorical_crossentropy")
    """

    @classmethod
    def paper(cls, learning_rate: Any, **kwargs: Any) -> "LAMB":
        """The paper's form, as in the authors' code and TensorFlow Addons 0.23.

        No clipping, phi the identity, decay 0.01, epsilon 1e-6; norms and biases without decay
        and without adaptation. You et al., arXiv 1904.00962, Algorithm 2.

        For a learning rate, see `schedules.untuned_lamb`. Arguments are the constructor's.
        """
        return cls(learning_rate, **kwargs)

    @classmethod
    def mlperf(cls, learning_rate: Any, **kwargs: Any) -> "LAMB":
        """MLPerf's form: the paper's, after clipping the reduced gradient to a global norm of 1.

            g = g / max(1, ||g||)        with ||g|| over all variables

        MLCommons training reference, BERT, `optimization.py`. Arguments are the constructor's.
        """
        return cls(learning_rate, max_grad_norm=1.0, **kwargs)

    @classmethod
    def nvlamb(cls, learning_rate: Any, weight_decay: float | None = 0.01, **kwargs: Any) -> "LAMB":
        """NVIDIA's NVLAMB: pre-normalization, and adaptation only where there is decay.

            g = g / max(1, ||g||)        with ||g|| over all variables
            ratio = ||x|| / ||u|| where x decays, else 1

        It differs from MLPerf's form only where `weight_decay` is 0: then nothing is adapted.
        NVIDIA DeepLearningExamples, BERT (apex `FusedLAMB`). Arguments are the constructor's; which
        variables are adapted follows from `exclude_from_weight_decay`.

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

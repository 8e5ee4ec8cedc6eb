"""What LAMB and AdamW have in common: Adam's moments and the direction they give."""

import math

from keras import ops

from tfbert.optimizers.layerwise import LayerwiseOptimizer


class AdamMoments(LayerwiseOptimizer):
    """Adam's direction with decay (Kingma & Ba, arXiv 1412.6980, Algorithm 1).

    For every variable x with the reduced gradient g, at its update number t:

        m = beta_1 m + (1 - beta_1) g               m^ = m / (1 - beta_1^t)
        v = beta_2 v + (1 - beta_2) g^2             v^ = v / (1 - beta_2^t)
        u = m^ / (sqrt(v^) + epsilon) + weight_decay x

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        beta_1: Float from 0 to below 1.
        beta_2: Float from 0 to below 1.
        epsilon: Float, positive.
        bias_correction: Bool. Without it m^ = m and v^ = v.
        **kwargs: As in `LayerwiseOptimizer`.

    Raises:
        ValueError: a number out of its range, and as in `LayerwiseOptimizer`.
    """

    slot_names = ("momentum", "velocity")

    def __init__(self, learning_rate, beta_1, beta_2, epsilon, bias_correction, **kwargs):
        for beta_name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{beta_name} must be from 0 to below 1: {beta}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive: {epsilon}")
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.epsilon = float(epsilon)
        self.bias_correction = bool(bias_correction)

    def update_direction(self, gradient, weight, slots, age, decay):
        """`u` and the new moments; see this class and `LayerwiseOptimizer`."""
        momentum = self.beta_1 * slots["momentum"] + (1.0 - self.beta_1) * gradient
        velocity = self.beta_2 * slots["velocity"] + (1.0 - self.beta_2) * ops.square(gradient)
        mean, spread = momentum, velocity
        if self.bias_correction:
            mean = momentum / _bias_correction(self.beta_1, age)
            spread = velocity / _bias_correction(self.beta_2, age)
        direction = mean / (ops.sqrt(spread) + self.epsilon)
        if decay:
            direction = direction + decay * weight
        return direction, {"momentum": momentum, "velocity": velocity}

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
        }


def _bias_correction(beta, age):
    """1 - beta^age; a float32 power would lose the digits of 1 - 0.999."""
    if not beta:
        return 1.0
    return -ops.expm1(age * math.log(beta))

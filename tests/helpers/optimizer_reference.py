"""AdamW, LAMB and LARS in NumPy float64, written from the papers and not from the package."""

import re

import numpy as np

NORMS_AND_BIASES = [r"(^|/)(gamma|beta|bias)$"]


class Reference:
    """One optimizer over named arrays; `step` updates `weights` in place."""

    def __init__(
        self,
        weights,
        learning_rate,
        weight_decay=0.01,
        exclude_from_weight_decay=NORMS_AND_BIASES,
        exclude_from_layer_adaptation=None,
        max_grad_norm=None,
        clipnorm=None,
        clipvalue=None,
        weight_norm_bounds=None,
        trust_ratio_bounds=None,
    ):
        self.weights = {k: np.array(v, "float64") for k, v in weights.items()}
        self.rate = learning_rate
        self.decay = weight_decay
        no_decay, no_adaptation = exclude_from_weight_decay, exclude_from_layer_adaptation
        self.no_decay = no_adaptation if no_decay is None else no_decay
        self.no_adaptation = no_decay if no_adaptation is None else no_adaptation
        self.max_grad_norm, self.clipnorm, self.clipvalue = max_grad_norm, clipnorm, clipvalue
        self.phi, self.bounds = weight_norm_bounds, trust_ratio_bounds
        self.state = {k: self.fresh(v) for k, v in self.weights.items()}
        self.statistics = {}

    def step(self, gradients):
        for name, gradient in self.clipped(gradients).items():
            x = self.weights[name]
            decay = 0.0 if hit(self.no_decay, name) else self.decay
            u = self.direction(self.state[name], gradient, x, decay)
            x_norm, u_norm = np.sqrt((x**2).sum()), np.sqrt((u**2).sum())
            ratio = 1.0
            if not hit(self.no_adaptation, name):
                phi = x_norm if self.phi is None else min(max(x_norm, self.phi[0]), self.phi[1])
                if phi > 0 and u_norm > 0:
                    ratio = phi / u_norm
                if self.bounds is not None:
                    ratio = min(max(ratio, self.bounds[0]), self.bounds[1])
            self.statistics[name] = (x_norm, u_norm, ratio)
            self.weights[name] = x - self.rate * ratio * u

    def clipped(self, gradients):
        g = {k: np.array(v, "float64") for k, v in gradients.items() if v is not None}
        if self.max_grad_norm is not None:
            total = np.sqrt(sum((v**2).sum() for v in g.values()))
            g = {k: v / max(1.0, total / self.max_grad_norm) for k, v in g.items()}
        if self.clipnorm is not None:
            norms = {k: np.sqrt((v**2).sum()) for k, v in g.items()}
            g = {k: v / max(1.0, norms[k] / self.clipnorm) for k, v in g.items()}
        if self.clipvalue is not None:
            g = {k: np.clip(v, -self.clipvalue, self.clipvalue) for k, v in g.items()}
        return g


class LambReference(Reference):
    def __init__(self, *args, beta_1=0.9, beta_2=0.999, epsilon=1e-6, bias_correction=True, **kw):
        super().__init__(*args, **kw)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.bias_correction = bias_correction

    def fresh(self, x):
        return {"m": np.zeros_like(x), "v": np.zeros_like(x), "t": 0}

    def direction(self, s, g, x, decay):
        s["t"] += 1
        s["m"] = self.beta_1 * s["m"] + (1 - self.beta_1) * g
        s["v"] = self.beta_2 * s["v"] + (1 - self.beta_2) * g**2
        m, v = s["m"], s["v"]
        if self.bias_correction:
            m, v = m / (1 - self.beta_1 ** s["t"]), v / (1 - self.beta_2 ** s["t"])
        return m / (np.sqrt(v) + self.epsilon) + decay * x


class AdamwReference(LambReference):
    """The published update is LAMB's direction times the rate."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, exclude_from_layer_adaptation=[""], **kwargs)
        self.no_decay = kwargs.get("exclude_from_weight_decay", NORMS_AND_BIASES)


class LarsReference(Reference):
    def __init__(self, *args, momentum=0.9, **kwargs):
        super().__init__(*args, **kwargs)
        self.momentum = momentum

    def fresh(self, x):
        return {"m": np.zeros_like(x)}

    def direction(self, s, g, x, decay):
        s["m"] = self.momentum * s["m"] + (1 - self.momentum) * (g + decay * x)
        return s["m"]


def hit(patterns, name):
    return any(re.search(p, name) for p in patterns or [])

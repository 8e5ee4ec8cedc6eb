"""What AdamW, LAMB and LARS have in common: options, clipping, the trust ratio, statistics."""

import math

from keras import ops

from tfbert.optimizers import gradients as gradient_ops
from tfbert.optimizers import reduction
from tfbert.optimizers.application import ReducingOptimizer
from tfbert.optimizers.exclusions import Exclusions
from tfbert.optimizers.trust_ratio import TrustRatio, checked_bounds, trust_ratio


class LayerwiseOptimizer(ReducingOptimizer):
    """Base of the optimizers whose rate is adapted variable by variable.

    A subclass names its float32 slots in `slot_names` and gives
    `update_direction(gradient, weight, slots, age, decay)`, which returns the `u` of
    `x - learning_rate * ratio * u` and `{slot name: new tensor}`. Its arguments are the reduced
    and clipped gradient and the weight, float32 tensors of one shape; `{slot name: tensor}`;
    the number of this update for this variable from 1, a float32 scalar; and the coefficient
    of the weights, a float that is 0 where they are excluded from decay.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        weight_decay: Float, at least 0, or None for 0. The coefficient of the weights in the
            update, where they also count for its norm. Keras' own decay never acts beside it.
        exclude_from_weight_decay: List of regular expressions, searched in a variable's path;
            a match has no decay. None means "as the other list", `[]` means no variable.
        exclude_from_layer_adaptation: Likewise; a match has a trust ratio of 1.
        max_grad_norm: Float or None. Divides the reduced gradient by
            `max(1, global norm / max_grad_norm)`.
        weight_norm_bounds: `(low, high)` or None. The paper's phi: `min(max(||x||, low), high)`.
        trust_ratio_bounds: `(low, high)` or None. Limits of the ratio; `(0, 1)` is LAMBC.
        record_statistics: Bool. Keeps what `trust_ratios()` and `gradient_norm()` give.
        jit_compile: Bool. Whether XLA compiles the update under TensorFlow: faster, after one
            compilation for each shape of a variable and each replica.
        **kwargs: Keras' `clipnorm`, `clipvalue`, `use_ema`, `ema_momentum`,
            `ema_overwrite_frequency`, `loss_scale_factor`, `gradient_accumulation_steps` and
            `name`; all of them act on the reduced gradient.

    Raises:
        ValueError: a number out of its range, `global_clipnorm` (use `max_grad_norm`), two
            ways of clipping, or what is no regular expression.
        TypeError: a list of regular expressions that is none.
    """

    slot_names = ()

    def __init__(
        self,
        learning_rate,
        weight_decay,
        exclude_from_weight_decay,
        exclude_from_layer_adaptation,
        max_grad_norm,
        weight_norm_bounds,
        trust_ratio_bounds,
        record_statistics,
        jit_compile,
        **kwargs,
    ):
        if kwargs.pop("global_clipnorm", None) is not None:
            raise ValueError("global_clipnorm: this optimizer's name for it is max_grad_norm")
        clips = {name: kwargs.get(name) for name in ("clipnorm", "clipvalue")}
        _check_clipping(max_grad_norm=max_grad_norm, **clips)
        weight_decay = weight_decay or 0.0
        if not 0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0 and finite: {weight_decay}")
        factor = kwargs.get("loss_scale_factor")
        if factor is not None and not 0 < factor < math.inf:
            raise ValueError(f"loss_scale_factor must be a positive number: {factor}")
        super().__init__(learning_rate, weight_decay=float(weight_decay), **kwargs)
        self.max_grad_norm = max_grad_norm
        self.exclusions = Exclusions(exclude_from_weight_decay, exclude_from_layer_adaptation)
        self.weight_norm_bounds = checked_bounds("weight_norm_bounds", weight_norm_bounds)
        self.trust_ratio_bounds = checked_bounds("trust_ratio_bounds", trust_ratio_bounds)
        self.record_statistics = bool(record_statistics)
        self.jit_compile = bool(jit_compile)
        compiled = reduction.compiled if self.jit_compile else lambda function: function
        self._update_variable = compiled(self._update_variable)
        self._sum_of_squares = compiled(gradient_ops.sum_of_squares)
        if self.record_statistics:
            self._gradient_norm = self.add_variable((), dtype="float32", name="gradient_norm")

    def _update(self, gradients, variables, divisor, iterations):
        learning_rate = ops.cast(self.learning_rate, "float32")
        if self.max_grad_norm is not None or self.record_statistics:
            norm = self._global_norm(gradients, divisor)
        if self.record_statistics:
            self._gradient_norm.assign(norm)
        if self.max_grad_norm is not None:
            divisor = divisor * ops.maximum(1.0, norm / self.max_grad_norm)
        names = [*self.slot_names, "first_step"]
        names += ["trust_ratio"] if self.record_statistics else []
        for gradient, variable in zip(gradients, variables, strict=True):
            path, slots = self.path_of(variable), self.slots_of(variable)
            self._update_variable(
                gradient,
                reduction.local(variable),
                {name: reduction.local(slots[name]) for name in names},
                learning_rate,
                iterations,
                ops.cast(divisor, "float32"),
                decay=self.weight_decay if self.exclusions.has_decay(path) else 0.0,
                adapted=self.exclusions.is_adapted(path),
            )

    def _global_norm(self, gradients, divisor):
        divisor = ops.cast(divisor, "float32")
        return ops.sqrt(sum(self._sum_of_squares(g, divisor) for g in gradients))

    def _update_variable(
        self, gradient, variable, slots, learning_rate, iterations, divisor, *, decay, adapted
    ):
        """The arithmetic of one variable: a function that XLA compiles once a shape."""
        gradient = self._clip(gradient / divisor)
        weight = ops.cast(variable, "float32")
        state = {name: ops.convert_to_tensor(slots[name]) for name in self.slot_names}
        age = ops.cast(iterations - slots["first_step"], "float32") + 1.0
        direction, state = self.update_direction(gradient, weight, state, age, decay)
        ratio = 1.0
        if adapted or self.record_statistics:
            weight_norm, update_norm = gradient_ops.norm(weight), gradient_ops.norm(direction)
        if adapted:
            ratio = trust_ratio(
                weight_norm, update_norm, self.weight_norm_bounds, self.trust_ratio_bounds
            )
        if self.record_statistics:
            statistics = [weight_norm, update_norm, ops.cast(ratio, "float32")]
            slots["trust_ratio"].assign(ops.stack(statistics))
        for name, value in state.items():
            slots[name].assign(value)
        variable.assign(ops.cast(weight - learning_rate * ratio * direction, variable.dtype))

    def _clip(self, gradient):
        if self.clipnorm is not None:
            return gradient / ops.maximum(1.0, gradient_ops.norm(gradient) / self.clipnorm)
        if self.clipvalue is not None:
            return ops.clip(gradient, -self.clipvalue, self.clipvalue)
        return gradient

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Keras' way to exclude variables from decay; replaces the constructor's list.

        What it sets is serialized, unlike in Keras, and counts for layer adaptation too where
        that list is None.

        Args:
            var_list: List of variables, excluded by their paths.
            var_names: List of regular expressions.

        Raises:
            ValueError: the optimizer is built already.
        """
        if self.built:
            raise ValueError("exclude_from_weight_decay() must come before build()")
        self.exclusions = self.exclusions.with_weight_decay(var_list or [], var_names or [])

    def trust_ratios(self):
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

    def gradient_norm(self):
        """The global norm of the last update's reduced gradient before clipping, a float.

        Raises:
            ValueError: without `record_statistics=True`.
        """
        self._check_recording("gradient_norm")
        return float(ops.convert_to_numpy(self._gradient_norm))

    def _check_recording(self, name):
        if not self.record_statistics:
            raise ValueError(f"{name}() needs an optimizer with record_statistics=True")

    def get_config(self):
        """The constructor's arguments, with both lists of exclusions."""
        config = super().get_config()
        # The base class' name for max_grad_norm, refused by the constructor.
        del config["global_clipnorm"]
        bounds = {
            name: None if (value := getattr(self, name)) is None else list(value)
            for name in ("weight_norm_bounds", "trust_ratio_bounds")
        }
        return {
            **config,
            **bounds,
            **self.exclusions.get_config(),
            "max_grad_norm": self.max_grad_norm,
            "record_statistics": self.record_statistics,
            "jit_compile": self.jit_compile,
        }


def _check_clipping(**options):
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"choose one way of clipping: {given}")
    for name, value in given.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive: {value}")

"""What LAMB and LARS have in common: the order of an update, exclusions, state by path."""

import keras
from keras import ops

from tfbert.optimizers import gradients as gradient_ops
from tfbert.optimizers import reduction
from tfbert.optimizers.exclusions import Exclusions
from tfbert.optimizers.slots import PathState
from tfbert.optimizers.trust_ratio import TrustRatio, checked_bounds, trust_ratio


class LayerwiseOptimizer(PathState, keras.optimizers.Optimizer):
    """Base of the optimizers whose rate is adapted variable by variable.

    `apply` densifies and widens to float32, sums over replicas, unscales, accumulates, clips,
    updates, applies constraints and averages, in this order. What follows the sum is local
    arithmetic on equal numbers, so that every replica takes the same decisions.

    A subclass names its float32 slots in `slot_names` and gives `update_direction`.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        weight_decay: Float, at least 0. The coefficient of the weights in the update, inside
            of which they also count for its norm. Keras' own decay never acts beside it.
        exclude_from_weight_decay: List of regular expressions, searched in a variable's path;
            a match has no decay. None means "as the other list", `[]` means no variable.
        exclude_from_layer_adaptation: Likewise; a match has a trust ratio of 1.
        max_grad_norm: Float or None. Divides the reduced gradient by
            `max(1, global norm / max_grad_norm)`.
        weight_norm_bounds: `(low, high)` or None. The paper's phi: `min(max(||x||, low), high)`.
        trust_ratio_bounds: `(low, high)` or None. Limits of the ratio; `(0, 1)` is LAMBC.
        record_statistics: Bool. Keeps what `trust_ratios()` and `gradient_norm()` give.
        jit_compile: Bool. Whether XLA compiles the update under TensorFlow: faster, after one
            compilation a replica.
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
        _check_clipping(max_grad_norm=max_grad_norm, **_clip_options(kwargs))
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0: {weight_decay}")
        super().__init__(learning_rate, weight_decay=float(weight_decay), **kwargs)
        self.max_grad_norm = max_grad_norm
        self.exclusions = Exclusions(exclude_from_weight_decay, exclude_from_layer_adaptation)
        self.weight_norm_bounds = checked_bounds("weight_norm_bounds", weight_norm_bounds)
        self.trust_ratio_bounds = checked_bounds("trust_ratio_bounds", trust_ratio_bounds)
        self.record_statistics = bool(record_statistics)
        self.jit_compile = bool(jit_compile)
        self._programs = _Programs()
        if self.record_statistics:
            self._gradient_norm = self.add_variable((), dtype="float32", name="gradient_norm")

    def update_direction(self, gradient, weight, slots, age, decay):
        """The update before it is scaled: the `u` of `x - learning_rate * ratio * u`.

        Args:
            gradient: Float32 tensor, reduced and clipped.
            weight: Float32 tensor of the same shape.
            slots: `{slot name: float32 tensor}` of the same shape.
            age: Float32 scalar, the number of this update for this variable, from 1.
            decay: Float. The coefficient of the weights, 0 where they are excluded.

        Returns:
            `u` and `{slot name: new tensor}`.
        """
        raise TypeError(f"{type(self).__name__} gives no update_direction")

    def apply(self, grads, trainable_variables=None, denominator=None):
        """One update with the gradients of this replica.

        Inside `strategy.run` every replica calls it with its own gradients; they are summed.
        Give either gradients of a loss that is already divided by the global batch (a stock
        `fit` does so), or local sums together with their `denominator`.

        Args:
            grads: List of tensors, `IndexedSlices` or None, one for each variable.
            trainable_variables: List of the variables; None means all those built.
            denominator: Scalar or None. This replica's part of what the summed gradient is
                divided by, such as its number of examples or of masked tokens. A sum of 0
                leaves the gradients as they are.

        Raises:
            ValueError: outside of `strategy.run`, a variable that `build` has not seen, or no
                gradient at all.
        """
        if not len(grads):
            return
        grads, variables = self.matched(grads, trainable_variables)
        self.apply_reduced(reduction.reduced(grads, denominator), variables)

    def matched(self, grads, trainable_variables=None):
        """Pairs gradients with variables, builds if need be, and drops those that are None.

        Returns:
            List of gradients and list of variables, of equal length.

        Raises:
            ValueError: as `apply`.
        """
        if trainable_variables is None:
            if not self.built:
                raise ValueError("the optimizer must be built before apply() without variables")
            trainable_variables = self._trainable_variables
        trainable_variables = list(trainable_variables)
        if len(grads) != len(trainable_variables):
            raise ValueError(f"{len(grads)} gradients for {len(trainable_variables)} variables")
        if not self.built:
            reduction.check_may_build()
            self.build(trainable_variables)
        self.check_known(trainable_variables)
        return self._filter_empty_gradients(grads, trainable_variables)

    def apply_reduced(self, gradients, variables, apply_if=None):
        """One update with gradients that are the same on every replica.

        Args:
            gradients: List of dense float32 tensors.
            variables: List of variables, one for each gradient.
            apply_if: Boolean scalar, the same on every replica, or None. Where it is False,
                nothing changes and the update does not count.
        """
        if self.loss_scale_factor is not None:
            gradients = [g / self.loss_scale_factor for g in gradients]

        def update():
            if self.gradient_accumulation_steps:
                self._accumulate(gradients, variables)
            else:
                self._update(gradients, variables)

        reduction.run_if(apply_if, update, self._written(variables))
        counted = 1 if apply_if is None else ops.cast(apply_if, self._iterations.dtype)
        # Its aggregation makes this a merge_call, which no condition may hold.
        self._iterations.assign_add(counted)

    def _accumulate(self, gradients, variables):
        steps = self.gradient_accumulation_steps
        is_last = ops.equal((self._iterations + 1) % steps, 0)
        accumulators = [self.slots_of(v)["accumulator"] for v in variables]
        sums = [g + ops.convert_to_tensor(a) for g, a in zip(gradients, accumulators, strict=True)]
        for accumulator, total in zip(accumulators, sums, strict=True):
            accumulator.assign(ops.where(is_last, ops.zeros_like(total), total))
        means = [total / steps for total in sums]
        reduction.run_if(is_last, lambda: self._update(means, variables), self._written(variables))

    def _update(self, gradients, variables):
        learning_rate = ops.cast(self.learning_rate, "float32")
        iterations = ops.cast(self.iterations, self._iterations.dtype)
        self._program(variables)(gradients, learning_rate, iterations)
        for variable in variables:
            if getattr(variable, "constraint", None) is not None:
                variable.assign(variable.constraint(variable))
        if self.use_ema:
            self._average(variables, iterations)

    def _program(self, variables):
        """The arithmetic of `variables`, as one function that XLA may compile."""

        def program(gradients, learning_rate, iterations):
            for gradient, variable in zip(self._clip(gradients), variables, strict=True):
                self._update_variable(gradient, variable, learning_rate, iterations)

        if not self.jit_compile:
            return program
        key = tuple(self.path_of(v) for v in variables)
        return self._programs.get(key, lambda: reduction.compiled(program))

    def _clip(self, gradients):
        if self.max_grad_norm is not None or self.record_statistics:
            total = gradient_ops.global_norm(gradients)
        if self.record_statistics:
            self._gradient_norm.assign(total)
        if self.max_grad_norm is not None:
            return gradient_ops.scale_to_norm(gradients, self.max_grad_norm, total)
        if self.clipnorm is not None:
            return gradient_ops.clip_each_norm(gradients, self.clipnorm)
        if self.clipvalue is not None:
            return gradient_ops.clip_each_value(gradients, self.clipvalue)
        return gradients

    def _update_variable(self, gradient, variable, learning_rate, iterations):
        path, slots = self.path_of(variable), self.slots_of(variable)
        weight = ops.cast(variable, "float32")
        direction, values = self.update_direction(
            gradient,
            weight,
            {name: ops.convert_to_tensor(slots[name]) for name in self.slot_names},
            ops.cast(iterations - slots["first_step"], "float32") + 1.0,
            self.weight_decay if self.exclusions.has_decay(path) else 0.0,
        )
        ratio = 1.0
        if self.exclusions.is_adapted(path) or self.record_statistics:
            weight_norm, update_norm = gradient_ops.norm(weight), gradient_ops.norm(direction)
        if self.exclusions.is_adapted(path):
            ratio = trust_ratio(
                weight_norm, update_norm, self.weight_norm_bounds, self.trust_ratio_bounds
            )
        if self.record_statistics:
            slots["trust_ratio"].assign(
                ops.stack([weight_norm, update_norm, ops.cast(ratio, "float32")])
            )
        for name, value in values.items():
            slots[name].assign(value)
        variable.assign(ops.cast(weight - learning_rate * ratio * direction, variable.dtype))

    def _average(self, variables, iterations):
        """Keras' moving average: the weights at a variable's first update, then the mean."""
        frequency = self.ema_overwrite_frequency
        overwrite = None if not frequency else ops.equal((iterations + 1) % frequency, 0)
        for variable in variables:
            slots = self.slots_of(variable)
            weight = ops.cast(variable, "float32")
            old = ops.convert_to_tensor(slots["average"])
            mean = self.ema_momentum * old + (1.0 - self.ema_momentum) * weight
            mean = ops.where(ops.equal(iterations, slots["first_step"]), weight, mean)
            slots["average"].assign(mean)
            if overwrite is not None:
                weight = ops.where(overwrite, mean, weight)
                variable.assign(ops.cast(weight, variable.dtype))

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        for variable in trainable_variables:
            average = ops.convert_to_tensor(self.slots_of(variable)["average"])
            variable.assign(ops.cast(average, variable.dtype))

    @property
    def _model_variables_moving_average(self):
        """What Keras' callback SwapEMAWeights looks for, in the order it expects."""
        if not self.use_ema:
            raise AttributeError("_model_variables_moving_average needs use_ema=True")
        return [self.slots_of(v)["average"] for v in self._trainable_variables]

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

        Raises:
            ValueError: without `record_statistics=True`.
        """
        self._check_recording("trust_ratios")
        return {
            path: TrustRatio(*(float(x) for x in ops.convert_to_numpy(slots["trust_ratio"])))
            for path, slots in self.all_slots()
        }

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

    def _written(self, variables):
        return [*variables, *self.variables]

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


class _Programs:
    """Compiled updates by their variables; a plain object, which nothing tracks or saves."""

    def __init__(self):
        self._programs = {}

    def get(self, key, make):
        if key not in self._programs:
            self._programs[key] = make()
        return self._programs[key]


def _clip_options(kwargs):
    return {name: kwargs.get(name) for name in ("clipnorm", "clipvalue")}


def _check_clipping(**options):
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"choose one way of clipping: {given}")
    for name, value in given.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive: {value}")

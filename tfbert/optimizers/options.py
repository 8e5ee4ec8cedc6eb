"""The options that AdamW, LAMB and LARS share: checked, kept and written down again."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tfbert.keras_settings import keras_defaults
from tfbert.optimizers.backend import variable_path

# LayerNorm's two vectors and every bias, by KerasHub's names; anchored, so that a layer called
# "gamma_projection" does not match.
NORMS_AND_BIASES = (r"(^|/)(gamma|beta|bias)$",)

# The options that an optimizer without layer adaptation does not take.
OPTIONS_OF_ADAPTATION = (
    "exclude_from_layer_adaptation",
    "weight_norm_bounds",
    "trust_ratio_bounds",
)


# Names that TensorFlow Addons, Keras 2 and PyTorch have for options, and ours.
_OTHER_NAMES = {
    "beta1": "beta_1",
    "beta2": "beta_2",
    "betas": "beta_1 and beta_2",
    "clip_norm": "max_grad_norm (all variables together) or clipnorm (each by itself)",
    "decay": "weight_decay; a rate that falls is a schedule, such as tfbert.WarmupPolynomialDecay, "
    "given as learning_rate",
    "eps": "epsilon",
    "global_clipnorm": "max_grad_norm",
    "lr": "learning_rate",
    "weight_decay_rate": "weight_decay",
}


class OptimizerOptions(keras.optimizers.Optimizer):
    """A Keras optimizer's constructor and configuration, without an update.

    A subclass says in `adapts_layers` whether the rate is adapted variable by variable.

    Args:
        learning_rate: Float, `LearningRateSchedule`, or function without arguments.
        weight_decay: Float, at least 0, or None for 0. The coefficient of the weights in the
            update, where they also count for its norm. Keras' own decay never acts as well.
        exclude_from_weight_decay: List of regular expressions, searched in a variable's path;
            a match has no decay. None means "as the other list", `[]` means no variable.
        exclude_from_layer_adaptation: Likewise; a match has a trust ratio of 1.
        max_grad_norm: Float or None. Divides the reduced gradient by
            `max(1, global norm / max_grad_norm)`.
        weight_norm_bounds: `(low, high)` or None. The paper's phi: `min(max(||x||, low), high)`.
        trust_ratio_bounds: `(low, high)` or None. Limits of the ratio; `(0, 1)` is LAMBC.
        record_statistics: Bool. Keeps what `trust_ratios()` and `gradient_norm()` return.
        jit_compile: Bool. Whether the update is compiled under TensorFlow: by XLA, which is
            faster after one compilation for each shape of a variable and each replica; on a CPU
            AdamW and LAMB take TensorFlow's own kernels instead, which are compiled already.
        **kwargs: Keras' `clipnorm`, `clipvalue`, `use_ema`, `ema_momentum`,
            `ema_overwrite_frequency`, `loss_scale_factor`, `gradient_accumulation_steps` and
            `name`; all of them act on the reduced gradient.

    Raises:
        ValueError: a number out of its range, another library's name of an option (`lr`,
            `weight_decay_rate`, `global_clipnorm`; the message has ours), two ways of clipping, or
            what is not a regular expression.
        TypeError: a list of regular expressions that is not one.
    """

    adapts_layers = True
    built: bool  # Keras'

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None,
        exclude_from_weight_decay: Sequence[str] | None,
        exclude_from_layer_adaptation: Sequence[str] | None = None,
        *,
        max_grad_norm: float | None = None,
        weight_norm_bounds: Sequence[float] | None = None,
        trust_ratio_bounds: Sequence[float] | None = None,
        record_statistics: bool = False,
        jit_compile: bool = True,
        **kwargs: Any,
    ) -> None:
        for other, ours in _OTHER_NAMES.items():
            if kwargs.pop(other, None) is not None:
                raise ValueError(f"{other}: this optimizer's name for it is {ours}")
        clips = {name: kwargs.get(name) for name in ("clipnorm", "clipvalue")}
        _check_clipping(max_grad_norm=max_grad_norm, **clips)
        is_number = isinstance(learning_rate, (int, float))
        if is_number and not 0 <= learning_rate < math.inf:
            raise ValueError(f"learning_rate must be at least 0 and finite: {learning_rate}")
        weight_decay = weight_decay or 0.0
        if not 0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0 and finite: {weight_decay}")
        factor = kwargs.get("loss_scale_factor")
        if factor is not None and not 0 < factor < math.inf:
            raise ValueError(f"loss_scale_factor must be a positive number: {factor}")
        with keras_defaults():  # or the rate would be float16 where `keras.json` says so
            super().__init__(learning_rate, weight_decay=float(weight_decay), **kwargs)
        self.max_grad_norm = max_grad_norm
        self.exclusions = Exclusions(exclude_from_weight_decay, exclude_from_layer_adaptation)
        self.weight_norm_bounds = _checked_bounds("weight_norm_bounds", weight_norm_bounds)
        self.trust_ratio_bounds = _checked_bounds("trust_ratio_bounds", trust_ratio_bounds)
        self.record_statistics = bool(record_statistics)
        self.jit_compile = bool(jit_compile)

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[keras.Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Keras' way to exclude variables from decay; replaces the constructor's list.

        What it sets is serialized, unlike in Keras, and counts for layer adaptation too where
        that list is None.

        Args:
            var_list: Excluded by their paths.
            var_names: Regular expressions.

        Raises:
            ValueError: the optimizer is built already.
        """
        if self.built:
            raise ValueError("exclude_from_weight_decay() must come before build()")
        self.exclusions = self.exclusions.with_weight_decay(var_list or [], var_names or [])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the lists of exclusions as they are now."""
        config = {
            **super().get_config(),
            "exclude_from_weight_decay": self.exclusions.weight_decay,
            "exclude_from_layer_adaptation": self.exclusions.layer_adaptation,
            "max_grad_norm": self.max_grad_norm,
            "weight_norm_bounds": self.weight_norm_bounds and list(self.weight_norm_bounds),
            "trust_ratio_bounds": self.trust_ratio_bounds and list(self.trust_ratio_bounds),
            "record_statistics": self.record_statistics,
            "jit_compile": self.jit_compile,
        }
        # Keras' name for max_grad_norm, refused by the constructor.
        left_out = ("global_clipnorm", *(() if self.adapts_layers else OPTIONS_OF_ADAPTATION))
        return {name: value for name, value in config.items() if name not in left_out}


class Exclusions:
    """Two lists of regular expressions, searched in a variable's path.

    Args:
        weight_decay: List of regular expressions; a match has no decay. None means "as the
            other list", `[]` means that no variable is excluded.
        layer_adaptation: Likewise; a match has a trust ratio of 1.

    With both None nothing is excluded.

    Raises:
        TypeError: a list that is a string, or holds something else than strings.
        ValueError: something that is not a regular expression.
    """

    def __init__(
        self, weight_decay: Iterable[str] | None, layer_adaptation: Iterable[str] | None
    ) -> None:
        self.weight_decay = _checked("exclude_from_weight_decay", weight_decay)
        self.layer_adaptation = _checked("exclude_from_layer_adaptation", layer_adaptation)

    def has_decay(self, path: str) -> bool:
        """Whether the variable of this path decays."""
        return not _is_excluded(path, self.weight_decay, self.layer_adaptation)

    def is_adapted(self, path: str) -> bool:
        """Whether the variable of this path has a trust ratio of its own."""
        return not _is_excluded(path, self.layer_adaptation, self.weight_decay)

    def with_weight_decay(
        self, variables: Iterable[keras.Variable], patterns: Iterable[str]
    ) -> "Exclusions":
        """A copy whose first list is `patterns` and the exact paths of `variables`."""
        paths = [f"^{re.escape(variable_path(v))}$" for v in variables]
        return Exclusions([*(_checked("var_names", patterns) or ()), *paths], self.layer_adaptation)


def _checked(name: str, patterns: Iterable[str] | None) -> list[str] | None:
    if patterns is None:
        return None
    if isinstance(patterns, str) or not all(isinstance(p, str) for p in patterns):
        raise TypeError(f"{name} must be a list of regular expressions: {patterns!r}")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{name}: {pattern!r} is not a regular expression: {error}") from None
    return list(patterns)


def _is_excluded(path: str, patterns: list[str] | None, others: list[str] | None) -> bool:
    """Whether one of `patterns` matches; of `others`, if there is no list of patterns."""
    patterns = others if patterns is None else patterns
    return any(re.search(pattern, path) for pattern in patterns or ())


def _check_clipping(**options: float | None) -> None:
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"choose one way of clipping: {given}")
    for name, value in given.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive: {value}")


def _checked_bounds(name: str, bounds: Sequence[float] | None) -> tuple[float, float] | None:
    if bounds is None:
        return None
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a pair of numbers: {bounds!r}") from None
    if not 0 <= low <= high:
        raise ValueError(f"{name} must be 0 <= low <= high: {bounds!r}")
    return low, high

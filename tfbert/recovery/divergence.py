"""Detects that a run has diverged, and says what most likely was the cause."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from tfbert.errors import TfbertError
from tfbert.recovery.snapshot import HostCopy, non_finite_name, state_variables
from tfbert.recovery.watching import too_far_above

if TYPE_CHECKING:
    import keras

_WINDOW = 20  # updates in an average of the loss


class Diverged(TfbertError):
    """The loss is not finite, or has grown out of all proportion. Exit status 1."""


@dataclasses.dataclass
class LossWatch:
    """Watches the loss of every execution.

    A run has diverged when the moving average is `too_far_above` the mean of the first 20 updates.
    """

    updates: int = 0
    reference: float = 0.0  # mean loss of the first updates
    recent: float | None = None  # moving average

    def check(self, loss: float, updates: int = 1) -> str | None:
        """Adds the mean loss of some updates.

        Returns:
            None, or in words why the run has diverged; the loss is then not added.
        """
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        keep = (1 - 1 / _WINDOW) ** updates
        recent = loss if self.recent is None else keep * self.recent + (1 - keep) * loss
        if self.updates >= _WINDOW and too_far_above(recent, self.reference):
            return f"the loss grew from {self.reference:.4g} to {recent:.4g}"
        if self.updates < _WINDOW:
            total = self.reference * self.updates + loss * updates
            self.reference = total / (self.updates + updates)
        self.updates += updates
        self.recent = recent
        return None

    @property
    def is_rising(self) -> bool:
        """Whether the loss is clearly above where it began."""
        return self.recent is not None and self.recent > 1.2 * self.reference


def divergence_message(
    model: keras.Model, watch: LossWatch, where: str, reason: str, good: str, was_rising: bool
) -> str:
    """What is known of a divergence, in one line.

    Args:
        model: As the divergence left it.
        where: The update, in words.
        reason: Of the divergence, in words.
        good: The checkpoint to return to, in words.
        was_rising: `watch.is_rising` before the last loss.
    """
    bad = non_finite_name(HostCopy().copy(state_variables(model)))
    cause = _likely_cause(model.optimizer, watch, was_rising, bad)
    return f"training diverged at {where}: {reason}; {good}; likely cause: {cause}"


def _likely_cause(optimizer: Any, watch: LossWatch, was_rising: bool, bad: str | None) -> str:
    """In words; `bad` is the name of a variable that holds an inf or a NaN, or None."""
    from keras import ops

    scale = getattr(optimizer, "dynamic_scale", None)
    minimum = getattr(optimizer, "minimum_scale", 1.0)
    # `float(variable)` fails for one that is mirrored.
    if scale is not None and float(ops.convert_to_numpy(scale)) <= minimum:
        return "float16 overflows at the smallest loss scale; use bfloat16 or float32"
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    too_high = f"the learning rate, {rate:.3g} now, is too high"
    if watch.updates == 0:
        return f"the weights it began with ({bad}), or the first batch, are not finite"
    if was_rising:
        return f"{too_high}, or its warm-up too short: the loss had been rising"
    if bad is None:
        return "a batch of bad data: the weights are sound, and the loss had not been rising"
    return f"{too_high}, or a batch of bad data: it came at once, and {bad} is not finite now"

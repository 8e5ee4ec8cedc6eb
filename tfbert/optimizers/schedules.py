"""Learning rates as functions of the update: warm-up, polynomial decay, phases, batch scaling."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfbert.types import Tensor

# Training examples of every row of the paper's table: one million steps of 512.
_PAPER_EXAMPLES = 512 * 1_000_000


@keras.saving.register_keras_serializable(package="tfbert")
class WarmupPolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then polynomial decay to an end rate.

    With peak rate `p`, end rate `e`, `w` warm-up steps and `T` steps in all, at step `s`:

        s < w:   p * s / w
        s >= w:  e + (p - e) * (1 - progress) ** power

    where progress is `(s - w) / (T - w)`, or `s / T` with `decay_from="start"`: what BERT's,
    MLPerf's and NVIDIA's scripts compute, which makes the rate jump down at the end of the
    warm-up. After step `T` the rate stays at `e`.

    Args:
        learning_rate: Float, positive. The peak rate.
        total_steps: Int, positive. Updates until the end rate is reached, warm-up included.
        warmup_steps: Int from 0 to `total_steps`. Updates of linear warm-up.
        power: Float, positive. 1 is linear decay (the LAMB paper), 0.5 is NVIDIA's.
        end_learning_rate: Float, at least 0.
        decay_from: `"warmup"` or `"start"`: the step from which the decay counts.

    Returns:
        When called with a step (an integer scalar), a float32 scalar.

    Raises:
        ValueError: a number out of its range, or an unknown `decay_from`.
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        warmup_steps: int = 0,
        power: float = 1.0,
        end_learning_rate: float = 0.0,
        decay_from: str = "warmup",
        name: str = "warmup_polynomial_decay",
    ) -> None:
        super().__init__()
        if not learning_rate > 0:
            raise ValueError(f"learning_rate must be positive: {learning_rate}")
        if not end_learning_rate >= 0:
            raise ValueError(f"end_learning_rate must not be negative: {end_learning_rate}")
        if not total_steps >= 1:
            raise ValueError(f"total_steps must be at least 1: {total_steps}")
        if not 0 <= warmup_steps <= total_steps:
            raise ValueError(f"warmup_steps must be 0 to total_steps={total_steps}: {warmup_steps}")
        if not power > 0:
            raise ValueError(f"power must be positive: {power}")
        if decay_from not in ("warmup", "start"):
            raise ValueError(f'decay_from must be "warmup" or "start": {decay_from!r}')
        self.learning_rate = float(learning_rate)
        self.total_steps = int(total_steps)
        self.warmup_steps = int(warmup_steps)
        self.power = float(power)
        self.end_learning_rate = float(end_learning_rate)
        self.decay_from = decay_from
        self.name = name

    def __call__(self, step: Tensor | int) -> Tensor:
        """The rate for the update after `step` updates, as a float32 scalar."""
        step = ops.cast(step, "float32")
        before = self.warmup_steps if self.decay_from == "warmup" else 0
        # If all steps are warm-up, the next step has the end rate.
        decay_steps = max(self.total_steps - before, 1)
        remaining = ops.clip((self.total_steps - step) / decay_steps, 0.0, 1.0)
        span = self.learning_rate - self.end_learning_rate
        decayed = self.end_learning_rate + span * ops.power(remaining, self.power)
        if not self.warmup_steps:
            return decayed
        warming = self.learning_rate * step / self.warmup_steps
        return ops.where(step < self.warmup_steps, warming, decayed)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "end_learning_rate": self.end_learning_rate,
            "decay_from": self.decay_from,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="tfbert")
class PhasedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Several phases one after another, each a schedule with its own warm-up, if it has one.

    Phase `k` starts after the `total_steps` of the phases before it and sees step 0 there: the
    re-warm-up of the LAMB paper's 64k/32k run (section 4.1). After the last phase the rate
    stays where that phase ends.

    Args:
        phases: Non-empty list of `WarmupPolynomialDecay`; `total_steps` is a phase's length.
        rewarmups: List of (start, steps). After `start` updates in all, within a phase, the rate
            rises again from 0 to the phase's, which it reaches `steps` updates later.

    Returns:
        When called with a step (an integer scalar), a float32 scalar.

    Raises:
        ValueError: no phase, or a negative number in a re-warm-up.
        TypeError: a phase of another class.
    """

    def __init__(
        self,
        phases: Sequence[WarmupPolynomialDecay],
        rewarmups: Sequence[tuple[int, int]] = (),
        name: str = "phased_schedule",
    ) -> None:
        super().__init__()
        # In deserialization Keras passes the configurations of nested objects.
        phases = [
            keras.saving.deserialize_keras_object(p) if isinstance(p, dict) else p for p in phases
        ]
        if not phases:
            raise ValueError("PhasedSchedule needs at least one phase")
        for phase in phases:
            if not isinstance(phase, WarmupPolynomialDecay):
                raise TypeError(f"a phase must be a WarmupPolynomialDecay: {phase!r}")
        self.phases = phases
        self.rewarmups = [(int(start), int(steps)) for start, steps in rewarmups]
        if any(start < 0 or steps < 0 for start, steps in self.rewarmups):
            raise ValueError(f"a re-warm-up begins and lasts at least 0 updates: {rewarmups}")
        self.name = name

    @property
    def total_steps(self) -> int:
        """Updates of all phases together."""
        return sum(phase.total_steps for phase in self.phases)

    def __call__(self, step: Tensor | int) -> Tensor:
        """The rate for the update after `step` updates, as a float32 scalar."""
        step = ops.cast(step, "float32")
        start = 0
        rate = self.phases[0](step)
        for previous, phase in zip(self.phases, self.phases[1:], strict=False):
            start += previous.total_steps
            # A negative local step belongs to an earlier phase and is not selected.
            rate = ops.where(step < start, rate, phase(ops.maximum(step - start, 0.0)))
        for start, steps in self.rewarmups:
            is_rising = ops.logical_and(step >= start, step < start + steps)
            rate = ops.where(is_rising, rate * (step - start) / max(steps, 1), rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the phases as configurations."""
        phases = [keras.saving.serialize_keras_object(phase) for phase in self.phases]
        rewarmups = [list(rewarmup) for rewarmup in self.rewarmups]
        return {"phases": phases, "rewarmups": rewarmups, "name": self.name}


def square_root_scaled_rate(
    learning_rate: float, batch_size: int, reference_batch_size: int
) -> float:
    """The rate for another batch size: `learning_rate * sqrt(batch / reference)`.

    Args:
        learning_rate: Float. The rate that suits `reference_batch_size`.
        batch_size: Int. Examples an update.
        reference_batch_size: Int. Examples an update at which `learning_rate` was found.

    Returns:
        Float. You et al., arXiv 1904.00962, section 4.3.
    """
    _check_batches(batch_size, reference_batch_size)
    return learning_rate * math.sqrt(batch_size / reference_batch_size)


def linear_scaled_warmup(warmup_ratio: float, batch_size: int, reference_batch_size: int) -> float:
    """The warm-up's share of all updates for another batch size: `ratio * batch / reference`.

    At a constant number of examples this keeps the warm-up's number of updates constant, and
    the examples seen in it grow linearly with the batch.

    Args:
        warmup_ratio: Float, 0 to 1. The share that suits `reference_batch_size`.
        batch_size: Int. Examples an update.
        reference_batch_size: Int. Examples an update at which `warmup_ratio` was found.

    Returns:
        Float, at most 1. You et al., arXiv 1904.00962, section 4.3.
    """
    _check_batches(batch_size, reference_batch_size)
    return min(warmup_ratio * batch_size / reference_batch_size, 1.0)


def untuned_lamb(
    phases: int | Sequence[tuple[int, int]],
) -> WarmupPolynomialDecay | PhasedSchedule:
    """The paper's untuned LAMB: rate and warm-up as functions of the batch size alone.

    From 512 examples an update on, with k = 3 - log2(batch / 512) / 2,

        rate = 5 / (2**k * 1000)        warm-up ratio = batch / 512 / 320

    which is square-root scaling of 6.25e-4 and linear scaling of 1/320 (You et al.,
    arXiv 1904.00962, the table "Untuned LAMB for BERT training").

    Args:
        phases: A batch size (the paper's 512 million examples follow from it), or a list of
            `(batch_size, total_steps)`, one phase each. The paper's 64k/32k run is
            `[(65_536, 7_037), (32_768, 1_562)]`.

    Returns:
        A `WarmupPolynomialDecay`, or a `PhasedSchedule` for a list; linear decay to 0.
    """
    if isinstance(phases, int):
        return _untuned_phase(phases, _PAPER_EXAMPLES // phases)
    return PhasedSchedule([_untuned_phase(batch, steps) for batch, steps in phases])


def _untuned_phase(batch_size: int, total_steps: int) -> WarmupPolynomialDecay:
    ratio = linear_scaled_warmup(1 / 320, batch_size, 512)
    return WarmupPolynomialDecay(
        learning_rate=square_root_scaled_rate(5e-3 / 8, batch_size, 512),
        total_steps=total_steps,
        warmup_steps=round(ratio * total_steps),
    )


def _check_batches(*sizes: int) -> None:
    for size in sizes:
        if not size >= 1:
            raise ValueError(f"a batch size must be at least 1: {size}")

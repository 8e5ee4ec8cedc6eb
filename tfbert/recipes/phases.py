"""The phases of a pre-training: what stays the same from an update to the next, and their rate."""

import dataclasses
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tfbert.errors import InputError
from tfbert.models.layer_origins import GrowthName, SlotsName
from tfbert.options import Count, Options, Positive, Rule, at_least, make_options, require

if TYPE_CHECKING:
    from tfbert.optimizers.schedules import PhasedSchedule

_ShareOfSteps = Annotated[float, Rule("from 0 to 1", lambda value: 0 <= value <= 1)]


@dataclasses.dataclass(frozen=True)
class Phase(Options):
    """A stretch of training: the papers' two at lengths 128 and 512, or a stage of a growing model.

    Args:
        steps: Updates.
        global_batch_size: Sequences an update, over all devices together.
        sequence_length: Tokens a sequence; the records must have been prepared for it.
        predictions: Masked tokens a sequence; by default as many as the records have places for.
        learning_rate: Peak of the learning rate, to which it rises from 0. Left out, the rate
            continues the schedule of the phase before, which then covers both.
        warmup: Share of the schedule's updates in which the rate rises.
        decay_power: The rate falls to 0 as this power of what is left: 1 is linear.
        decay_from: The decay counts from the end of the `warmup` or, as in NVIDIA's and Google's
            scripts, from the `start`.
        freeze_layers: Leave the embeddings and this many of the lowest layers as they are.
        per_device_batch_size: Sequences that a device computes at once; a larger share of the batch
            is accumulated. By default as many as `device_tokens` of the run allows.
        layers: Encoder layers that the model has in this phase; by default all. A model with fewer
            grows where the phase begins.
        growth: What new layers begin with: `stack` copies layer j mod n of n layers, `top` the
            top-most ones, `random` gives new weights.
        growth_slots: What new layers' optimizer state begins with: `copied` with the layer, or
            `zeros`. With `reset` that of the whole model begins with zeros.
        frozen_dropout: Whether embeddings and layers that are left as they are have dropout.
        rewarmup: Share of this phase's updates in which the rate rises from 0 again, if it
            continues the schedule of the phase before.

    Raises:
        InputError: If a number is out of its range.
    """

    steps: Count
    global_batch_size: Count
    sequence_length: Annotated[int, at_least(8)] = 128
    predictions: Count | None = None
    learning_rate: Positive | None = None
    warmup: _ShareOfSteps = 0.0
    decay_power: Positive = 1.0
    decay_from: Literal["warmup", "start"] = "warmup"
    freeze_layers: Annotated[int, at_least(0)] = 0
    per_device_batch_size: Count | None = None
    layers: Count | None = None
    growth: GrowthName = "stack"
    growth_slots: SlotsName = "copied"
    frozen_dropout: bool = True
    rewarmup: _ShareOfSteps = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        predictions, places = self.predictions, self.sequence_length - 2
        fits = predictions is None or predictions <= places
        require(fits, "predictions", predictions, f"at most {places}, [CLS] and [SEP] left out")
        if self.continues_schedule:
            for name, default in (("warmup", 0.0), ("decay_power", 1.0), ("decay_from", "warmup")):
                value = getattr(self, name)
                require(value == default, name, value, "left out where there is no --learning-rate")
        else:
            value = self.rewarmup
            require(not value, "rewarmup", value, "left out where there is a --learning-rate")

    @property
    def continues_schedule(self) -> bool:
        """Whether the rate continues that of the phase before, without a warm-up of its own."""
        return self.learning_rate is None

    @property
    def num_layers(self) -> int:
        """`layers`, of a phase that `with_layers` has filled in."""
        if self.layers is None:
            raise ValueError("how many layers the phase has is not filled in: call with_layers")
        return self.layers


def make_phases(entries: Any) -> list[Phase]:
    """The phases of a recipe.

    Args:
        entries: List of `Phase`s, or of dictionaries with their fields.

    Raises:
        InputError: If one is wrong, in the words of the command line: `--phases.0.steps`.
    """
    if not isinstance(entries, list):
        raise InputError("--phases must be a list, one entry a phase")
    phases = []
    for number, entry in enumerate(entries):
        if isinstance(entry, dict):
            try:
                entry = make_options(Phase, entry)
            except InputError as error:
                raise InputError(str(error).replace("--", f"--phases.{number}.", 1)) from error
        if not isinstance(entry, Phase):
            raise InputError(f"--phases.{number} is {entry!r}: it must be a phase's options")
        phases.append(entry)
    if phases and phases[0].continues_schedule:
        raise InputError("--phases.0.learning-rate must be given: no phase goes before it")
    return phases


def with_layers(phases: list[Phase], num_layers: int, is_new: bool = True) -> list[Phase]:
    """The phases, each with the number of layers that the model has in it.

    Args:
        num_layers: Of a new model the layers at the end, of an existing one those that it has.
        is_new: Whether the model is new.

    Raises:
        InputError: If a phase has fewer layers than the one before or than it freezes, or a new
            model would not have all of its layers in the end.
    """
    full, least = [], 1 if is_new else num_layers
    for number, phase in enumerate(phases):
        layers = max(num_layers, 0 if is_new else least) if phase.layers is None else phase.layers
        if layers < least:
            raise InputError(
                f"--phases.{number}.layers is {layers}: it must be at least {least}, as a model "
                "does not shrink"
            )
        if phase.freeze_layers > layers:
            raise InputError(
                f"--phases.{number}.freeze-layers is {phase.freeze_layers}: the model has only "
                f"{layers} layers"
            )
        full.append(dataclasses.replace(phase, layers=layers))
        least = layers
    if is_new and least != num_layers:
        raise InputError(
            f"--phases.{len(full) - 1}.layers is {least}: in the last phase the model must have "
            f"all of its {num_layers} layers"
        )
    return full


def batch_orders(phases: list[Phase]) -> list[tuple[int, int]]:
    """Where each phase takes its batches from.

    Phases of equal batches take them from one order, one after the other: the stages of a staged
    training see what the model would have seen at full depth. Others have an order, and masks, of
    their own.

    Returns:
        List of (order's number, number of the first batch).
    """
    orders, number, done, before = [], -1, 0, None
    for phase in phases:
        kind = (phase.sequence_length, phase.global_batch_size, phase.predictions)
        if kind != before:
            number, done, before = number + 1, 0, kind
        orders.append((number, done))
        done += phase.steps
    return orders


def scaled_to_batch(phases: list[Phase], global_batch_size: int) -> list[Phase]:
    """The same training at another batch size, by the rules of the LAMB paper.

    The number of sequences stays, so the steps fall as the batch grows; the rate follows the square
    root of the batch, and the share of the warm-up the batch (You et al., arXiv 1904.00962, section
    4.3). From 6.25e-4 and 1/320 at 512 these are the paper's table of untuned LAMB.

    Args:
        global_batch_size: That of the first phase; the others keep their proportion to it.

    Raises:
        InputError: If a phase would not have a whole number of sequences, or no update.
    """
    first = phases[0].global_batch_size
    factor = global_batch_size / first
    scaled = []
    for phase in phases:
        batch, rest = divmod(phase.global_batch_size * global_batch_size, first)
        steps = round(phase.steps / factor)
        if rest or not batch or not steps:
            raise InputError(
                f"--global-batch-size {global_batch_size}: {phase.steps} steps of "
                f"{phase.global_batch_size} sequences cannot be scaled to it"
            )
        changes: dict[str, Any] = {"global_batch_size": batch, "steps": steps}
        if phase.learning_rate is not None:
            changes["learning_rate"] = phase.learning_rate * math.sqrt(factor)
            changes["warmup"] = min(1.0, phase.warmup * factor)
        changes["rewarmup"] = min(1.0, phase.rewarmup * factor)
        scaled.append(dataclasses.replace(phase, **changes))
    return scaled


def learning_rate_schedule(phases: list[Phase]) -> "PhasedSchedule":
    """The learning rate of all phases, as a function of the update.

    A phase with a `learning_rate` begins a schedule of its own: at its first update the rate is 0
    where it has a `warmup`, else its peak. A phase without one lengthens the schedule before it and
    continues it; with a `rewarmup` the rate rises from 0 to it once more.

    Returns:
        A `tfbert.PhasedSchedule`, which finds the schedule of an update.
    """
    from tfbert.optimizers.schedules import PhasedSchedule, WarmupPolynomialDecay

    lengths: list[int] = []  # updates of each schedule
    leaders, peaks, rewarmups = [], [], []
    for phase in phases:
        if phase.rewarmup:
            rewarmups.append((sum(lengths), round(phase.rewarmup * phase.steps)))
        if phase.learning_rate is None:  # it continues the schedule before it
            lengths[-1] += phase.steps
        else:
            lengths.append(phase.steps)
            leaders.append(phase)
            peaks.append(phase.learning_rate)
    return PhasedSchedule(
        [
            WarmupPolynomialDecay(
                peak,
                length,
                warmup_steps=round(leader.warmup * length),
                power=leader.decay_power,
                decay_from=leader.decay_from,
            )
            for leader, peak, length in zip(leaders, peaks, lengths, strict=True)
        ],
        rewarmups,
    )

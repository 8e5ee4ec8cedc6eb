"""Staged training, in which the model grows from stage to stage: the papers' settings as phases.

`stack` is progressive stacking (Gong et al., "Efficient training of BERT by progressively
stacking", ICML 2019); `one_shot` is the G_stack of Du et al. ("Stacking your transformers", NeurIPS
2024, arXiv 2405.15319); `mslt` is multi-stage layerwise training (Yang et al., arXiv 2011.13635).
"Assumed" marks a default that comes from no paper or code, "recalled" a setting of the MSLT paper
that could not be read again.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from tfbert.errors import InputError
from tfbert.models.layer_origins import GrowthName, SlotsName
from tfbert.recipes.phases import Phase


class Stage(NamedTuple):
    """A stage of training.

    Args:
        layers: Encoder layers that the model has.
        frozen: How many of them, from the lowest on, are left as they are, with the embeddings.
        share: Share of all updates.
    """

    layers: int
    frozen: int
    share: float


class Defaults(NamedTuple):
    """The options of a way of staging where none are given."""

    stages: int
    joint_share: float
    growth: GrowthName
    growth_slots: SlotsName
    frozen_dropout: bool
    stage_schedule: Literal["whole", "each"]


DEFAULTS = {
    "stack": Defaults(
        stages=3,  # L/4, L/2 and L layers: Gong et al.
        joint_share=280 / 400,  # 50k, 70k and 280k of 400k updates: Gong et al.
        growth="stack",  # Gong et al.
        growth_slots="reset",  # Gong et al.
        frozen_dropout=True,  # nothing is frozen
        stage_schedule="whole",  # assumed
    ),
    "one_shot": Defaults(
        stages=2,  # L/4 and L layers: Du et al.
        # Assumed: a quarter of the layers then does most of the updates, and half of the operations
        # or more. Du et al. grow after 10 of 300 billion tokens, a share of 0.97 for the whole.
        joint_share=0.2,
        growth="stack",  # Du et al.
        growth_slots="reset",  # their code carries over weights alone
        frozen_dropout=True,  # nothing is frozen
        stage_schedule="whole",  # assumed; their code begins a new schedule, as `each` does
    ),
    "mslt": Defaults(
        stages=4,  # for BERT-Base and -Large: recalled
        # Assumed: "the smaller share" is recalled. With 4 stages the cost is that of the paper's
        # speed-up of 2.1.
        joint_share=0.15,
        growth="top",  # recalled; LiGO's description has "copies of existing layers"
        growth_slots="copied",  # assumed
        frozen_dropout=False,  # assumed
        stage_schedule="whole",  # assumed
    ),
}

# What `staged` says of a phase, in addition to its steps and its rate.
STAGED_FIELDS = (
    "layers",
    "freeze_layers",
    "growth",
    "growth_slots",
    "frozen_dropout",
    "rewarmup",
)

# How many times deeper the model of a stage is than that of the one before; MSLT adds blocks.
_TIMES_DEEPER = {"stack": 2, "one_shot": 4}

# Updates of the stages of `stack` before the last: Gong et al. for three stages. Others are equal:
# assumed.
_STACK_EARLY = {3: (50, 70)}


def make_stages(
    staging: str,
    num_layers: int,
    stages: int | None = None,
    joint_share: float | None = None,
    stage_shares: Sequence[float] | None = None,
) -> list[Stage]:
    """The stages of a staged pre-training.

    Args:
        staging: `stack`, `one_shot` or `mslt`.
        num_layers: Layers of the whole model.
        stages: How many: of `stack` all of them, each with twice the layers of the one before; of
            `one_shot` two; of `mslt` those in which layers are added, before the joint one.
        joint_share: Share of the updates of the last stage, in which all layers are trained.
        stage_shares: Share of the updates of every stage, instead of the other two.

    Raises:
        InputError: If the layers do not divide into the stages, or the shares do not sum up to 1.
    """
    if stage_shares is not None:
        for name, value in (("stages", stages), ("joint-share", joint_share)):
            if value is not None:
                raise InputError(f"--{name} {value}: --stage-shares says it already")
        if min(stage_shares, default=0) <= 0 or abs(sum(stage_shares) - 1) > 1e-6:
            raise InputError(f"--stage-shares {stage_shares}: they must be above 0 and sum up to 1")
        stages = len(stage_shares) - (staging == "mslt")
        if not stages:
            raise InputError(
                f"--stage-shares {stage_shares}: mslt has a joint stage after the others, so there "
                "must be two or more"
            )
    elif stages is None:
        stages = DEFAULTS[staging].stages
    if staging == "one_shot" and stages != 2:
        given = f"--stages {stages}" if stage_shares is None else f"--stage-shares {stage_shares}"
        raise InputError(f"{given}: one_shot has two stages; try --staging stack for others")
    if staging == "stack" and stages == 1 and joint_share is not None:
        raise InputError(f"--joint-share {joint_share}: a single stage has all of the updates")
    if joint_share is None:
        joint_share = DEFAULTS[staging].joint_share
    times = _TIMES_DEEPER.get(staging)
    parts = times ** (stages - 1) if times else stages
    if stages < 1 or num_layers % parts:
        option = "--stages" if stage_shares is None else "--stage-shares"
        advice = "number of layers" if staging == "one_shot" else f"number of {option}"
        raise InputError(
            f"--num-layers {num_layers}: cannot be divided into the {parts} equal parts of "
            f"{stages} stages; try another {advice}"
        )
    block = num_layers // parts
    if times:
        early = _STACK_EARLY.get(stages, (1,) * (stages - 1))
        depths = [(block * times**number, 0) for number in range(stages)]
    else:
        early = (1,) * stages
        depths = [(block * (number + 1), block * number) for number in range(stages)]
        depths.append((num_layers, 0))
    if stage_shares is None:
        stage_shares = [(1 - joint_share) * part / sum(early) for part in early]
        stage_shares.append(1 - sum(stage_shares))
    return [Stage(*depth, share) for depth, share in zip(depths, stage_shares, strict=True)]


def staged(
    phases: list[Phase],
    stages: list[Stage],
    growth: GrowthName,
    growth_slots: SlotsName,
    frozen_dropout: bool,
    stage_schedule: Literal["whole", "each"],
    stage_warmup: float | None = None,
) -> list[Phase]:
    """Phases of a recipe as the phases of a staged training.

    The stages lie one after the other over the updates of all phases together: a phase in which a
    stage ends is divided there. So the last stage of a recipe with lengths 128 and 512 holds all
    that is trained at 512, where its share is not smaller than that.

    Args:
        growth, growth_slots, frozen_dropout: As in `Phase`.
        stage_schedule: `whole` spreads the recipe's rate over all stages; it rises from 0
            again where a later stage begins; with `each` a stage has the recipe's peak, warm-up
            and decay for itself.
        stage_warmup: Share of a stage's updates in which the rate rises (again); by default the
            `warmup` of the recipe. With `whole` the first stage has the recipe's schedule, whose
            warm-up is a share of all updates.

    Raises:
        InputError: If a stage would have no update.
    """
    total = sum(phase.steps for phase in phases)
    ends = [round(total * end) for end in itertools.accumulate(stage.share for stage in stages)]
    ends[-1] = total
    lengths = [end - begin for begin, end in itertools.pairwise([0, *ends])]
    if min(lengths) < 1:
        raise InputError(
            f"--staging: {total} updates are too few for the stages' shares; stage "
            f"{lengths.index(min(lengths)) + 1} would have none"
        )
    divided: list[Phase] = []
    done, stage_before = 0, None
    for phase in phases:
        if not phase.continues_schedule:
            leader = phase  # whose rate it is
        phase_begin, phase_end = done, done + phase.steps
        while done < phase_end:
            number = next(n for n, end in enumerate(ends) if done < end)
            end = min(phase_end, ends[number])
            stage = stages[number]
            changes: dict[str, Any] = {
                "steps": end - done,
                "layers": stage.layers,
                "freeze_layers": stage.frozen,
                "growth": growth,
                "growth_slots": growth_slots,
                "frozen_dropout": frozen_dropout,
            }
            begins_stage = stage is not stage_before
            warmup = leader.warmup if stage_warmup is None else stage_warmup
            if done > phase_begin or phase.continues_schedule:
                changes |= _rate(leader, begins_stage, stage_schedule, warmup)
            elif begins_stage and stage_schedule == "each":
                changes["warmup"] = warmup
            divided.append(dataclasses.replace(phase, **changes))
            done, stage_before = end, stage
    return divided


def _rate(leader: Phase, begins_stage: bool, stage_schedule: str, warmup: float) -> dict[str, Any]:
    """The rate of a phase that is not the first one of a schedule of the recipe."""
    if begins_stage and stage_schedule == "each":
        return {
            "learning_rate": leader.learning_rate,
            "warmup": warmup,
            "decay_power": leader.decay_power,
            "decay_from": leader.decay_from,
        }
    return {
        "learning_rate": None,
        "warmup": 0.0,
        "decay_power": 1.0,
        "decay_from": "warmup",
        "rewarmup": warmup if begins_stage else 0.0,
    }

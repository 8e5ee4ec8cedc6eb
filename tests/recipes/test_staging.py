import dataclasses

import numpy as np
import pytest

from tfbert.cli import parse
from tfbert.errors import InputError
from tfbert.recipes.phases import Phase, learning_rate_schedule, make_phases, with_layers
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.recipes.staging import make_stages, staged

PHASE = {"steps": 400, "global_batch_size": 8, "learning_rate": 0.1, "warmup": 0.1}
GOOD = {"data": "records", "output": "run", "num_layers": 12}


def config(*phases, **options):
    return PretrainConfig(**{**GOOD, **options}, phases=list(phases or [PHASE]))


def stages_of(phases):
    return [(p.layers, p.freeze_layers, p.steps) for p in phases]


def test_stacking_as_in_its_paper():
    phases = config({**PHASE, "steps": 400_000}, staging="stack").scaled_phases()
    # Gong et al., ICML 2019: 3, 6 and 12 layers for 50k, 70k and 280k updates, state reset.
    assert stages_of(phases) == [(3, 0, 50_000), (6, 0, 70_000), (12, 0, 280_000)]
    assert {(p.growth, p.growth_slots) for p in phases} == {("stack", "reset")}


def test_one_shot_stacking_as_in_its_paper():
    phases = config({**PHASE, "steps": 1_000}, staging="one_shot").scaled_phases()
    # Du et al., arXiv 2405.15319: four times the layers at once; from the small model its weights.
    assert stages_of(phases) == [(3, 0, 800), (12, 0, 200)]
    assert {(p.growth, p.growth_slots) for p in phases} == {("stack", "reset")}
    assert [p.rewarmup for p in phases] == [0, 0.1]
    # Their growth after 10 of 300 billion tokens.
    early = config({**PHASE, "steps": 300}, staging="one_shot", joint_share=290 / 300)
    assert stages_of(early.scaled_phases()) == [(3, 0, 10), (12, 0, 290)]


def test_mslt_trains_the_newest_block_and_in_the_end_all():
    phases = config({**PHASE, "steps": 1_000}, staging="mslt").scaled_phases()
    assert stages_of(phases) == [
        (3, 0, 212),
        (6, 3, 213),
        (9, 6, 213),
        (12, 9, 212),
        (12, 0, 150),
    ]
    assert {(p.growth, p.frozen_dropout) for p in phases} == {("top", False)}


def test_every_default_can_be_changed():
    options = {
        "staging": "mslt",
        "stages": 2,
        "joint_share": 0.5,
        "growth": "random",
        "growth_slots": "zeros",
        "frozen_dropout": True,
        "stage_schedule": "each",
        "stage_warmup": 0.2,
    }
    phases = config(**options).scaled_phases()
    assert stages_of(phases) == [(6, 0, 100), (12, 6, 100), (12, 0, 200)]
    assert phases[1] == Phase(
        100,
        8,
        learning_rate=0.1,
        warmup=0.2,
        layers=12,
        freeze_layers=6,
        growth="random",
        growth_slots="zeros",
        frozen_dropout=True,
    )
    shares = {"staging": "stack", "stage_shares": [0.25, 0.75]}
    assert stages_of(config(**shares).scaled_phases()) == [(6, 0, 100), (12, 0, 300)]
    shares["staging"] = "one_shot"
    assert stages_of(config(**shares).scaled_phases()) == [(3, 0, 100), (12, 0, 300)]
    equal = config(staging="stack", stages=2, joint_share=0.5).scaled_phases()
    assert stages_of(equal) == [(6, 0, 200), (12, 0, 200)]


def test_stages_lie_over_both_lengths():
    second = {"steps": 40, "global_batch_size": 4, "sequence_length": 512}
    first = {**PHASE, "steps": 360}
    phases = config(first, second, staging="mslt").scaled_phases()
    # The joint stage's 60 updates: the last 20 at length 128, then all 40 at 512.
    assert [(p.sequence_length, p.steps, p.freeze_layers) for p in phases] == [
        (128, 85, 0),
        (128, 85, 3),
        (128, 85, 6),
        (128, 85, 9),
        (128, 20, 0),
        (512, 40, 0),
    ]
    assert [p.rewarmup for p in phases] == [0, 0.1, 0.1, 0.1, 0.1, 0]
    assert [p.global_batch_size for p in phases][-2:] == [8, 4]
    # A stage may also end at the second length, and a phase keep its own rate.
    second |= {"learning_rate": 0.05, "warmup": 0.5}
    phases = config(first, second, staging="mslt", joint_share=0.05).scaled_phases()
    assert [(p.sequence_length, p.freeze_layers) for p in phases[-3:]] == [
        (128, 9),
        (512, 9),
        (512, 0),
    ]
    assert [p.learning_rate for p in phases] == [0.1, None, None, None, 0.05, None]


def rates(phases):
    schedule = learning_rate_schedule(phases)
    return np.array([float(schedule(step)) for step in range(sum(p.steps for p in phases))])


def test_the_rate_over_all_stages_and_in_each():
    phases = make_phases([{**PHASE, "steps": 100}])
    stages = make_stages("stack", 4, stage_shares=[0.5, 0.3, 0.2])
    options = {"growth": "stack", "growth_slots": "reset", "frozen_dropout": True}
    step = np.arange(100)
    envelope = np.where(step < 10, 0.01 * step, 0.1 * (100 - step) / 90)
    np.testing.assert_allclose(rates(phases), envelope, atol=1e-7)

    whole = staged(phases, stages, **options, stage_schedule="whole")
    ramps = np.ones(100)
    ramps[50:53], ramps[80:82] = np.arange(3) / 3, np.arange(2) / 2
    np.testing.assert_allclose(rates(whole), envelope * ramps, atol=1e-7)

    each = staged(phases, stages, **options, stage_schedule="each", stage_warmup=0.2)
    parts = []
    for steps in (50, 30, 20):
        step, warmup = np.arange(steps), steps // 5
        decay = 0.1 * (steps - step) / (steps - warmup)
        parts.append(np.where(step < warmup, 0.1 * step / warmup, decay))
    np.testing.assert_allclose(rates(each), np.concatenate(parts), atol=1e-7)


def test_a_schedule_with_rewarmups_is_serialized():
    schedule = learning_rate_schedule(config(staging="mslt").scaled_phases())
    again = type(schedule).from_config(schedule.get_config())
    assert [float(again(s)) for s in (86, 90, 200)] == [float(schedule(s)) for s in (86, 90, 200)]
    assert schedule.rewarmups[0] == (85, 8)


def test_staging_scales_with_the_batch():
    phases = config(staging="stack", global_batch_size=16).scaled_phases()
    assert [(p.steps, p.global_batch_size) for p in phases] == [(25, 16), (35, 16), (140, 16)]
    assert [p.rewarmup for p in phases] == [0, 0.2, 0.2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"staging": "grow"}, "--staging is 'grow': it must be one of none, stack, one_shot, mslt"),
        ({"stages": 4}, "--stages is 4: it must be left out where there is no --staging"),
        ({"staging": "mslt", "stages": 0}, "--stages is 0: it must be at least 1"),
        ({"staging": "mslt", "stages": 5}, "--num-layers 12: .* the 5 equal parts of 5 stages"),
        ({"staging": "stack", "stages": 4}, "--num-layers 12: .* the 8 equal parts of 4 stages"),
        ({"staging": "one_shot", "stages": 3}, "--stages 3: one_shot has two stages"),
        ({"staging": "one_shot", "stage_shares": [0.2, 0.3, 0.5]}, "--stage-shares .* two stages"),
        ({"staging": "one_shot", "num_layers": 6}, "the 4 equal .* number of layers"),
        ({"staging": "one_shot", "frozen_dropout": True}, "one_shot freezes nothing"),
        ({"staging": "mslt", "joint_share": 1.0}, "--joint-share is 1.0"),
        ({"staging": "mslt", "stage_shares": [0.5, 0.4]}, "--stage-shares .* sum up to 1"),
        ({"staging": "stack", "stage_shares": [1.0], "stages": 1}, "--stages 1: --stage-shares"),
        ({"staging": "mslt", "stage_shares": [1.0]}, "--stage-shares .* two or more"),
        ({"staging": "stack", "stages": 1, "joint_share": 0.5}, "--joint-share 0.5: a single"),
        ({"staging": "stack", "frozen_dropout": False}, "--frozen-dropout is False: .* freezes no"),
        ({"staging": "mslt", "init": "embedded"}, "--staging mslt: grows a new model"),
        ({"staging": "mslt", "stage_warmup": 2.0}, "--stage-warmup is 2.0"),
    ],
)
def test_wrong_staging_is_named(options, message):
    with pytest.raises(InputError, match=message):
        config(**options)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([{"steps": 3}], "--staging: 3 updates are too few"),
        ([{"layers": 3}], "--phases.0.layers: left to the stages of --staging mslt"),
        ([{}, {"freeze_layers": 1}], "--phases.1.freeze-layers: left to the stages"),
        ([{"frozen_dropout": False}], "--phases.0.frozen-dropout: left to the stages"),
    ],
)
def test_phases_that_cannot_be_staged(phases, message):
    with pytest.raises(InputError, match=message):
        config(*({**PHASE, **phase} for phase in phases), staging="mslt")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([6, 3, None], "--phases.1.layers is 3: it must be at least 6"),
        ([3, 6], "--phases.1.layers is 6: in the last phase the model must have all of its 12"),
        ([16], "--phases.0.layers is 16: in the last phase"),
        ([0], "--phases.0.layers is 0: it must be at least 1"),
    ],
)
def test_layers_of_phases(layers, message):
    with pytest.raises(InputError, match=message):
        config(*({**PHASE, "layers": number} for number in layers))


def test_layers_left_out_are_the_models():
    phases = make_phases([{**PHASE, "layers": 4}, PHASE])
    assert [p.layers for p in with_layers(phases, 12)] == [4, 12]
    # What one starts from may grow beyond its own depth, and not shrink.
    deeper = [phases[0], dataclasses.replace(phases[1], layers=6)]
    assert [p.layers for p in with_layers(deeper, 4, is_new=False)] == [4, 6]
    left_out = [dataclasses.replace(deeper[1]), phases[1]]
    assert [p.layers for p in with_layers(left_out, 4, is_new=False)] == [6, 6]
    with pytest.raises(InputError, match=r"--phases\.0\.layers is 4: it must be at least 5"):
        with_layers(deeper, 5, is_new=False)


def test_the_command_line():
    words = "pretrain --recipe mini_cpu --data d --output o --staging mslt --stages 2"
    more = "--frozen-dropout true --stage-shares 0.5 0.3 0.2"
    with pytest.raises(InputError, match="--stages 2: --stage-shares says it already"):
        parse([*words.split(), *more.split()])
    _, options = parse([*words.split()[:-2], *more.split()])
    assert (options.staging, options.frozen_dropout) == ("mslt", True)
    assert options.stage_shares == [0.5, 0.3, 0.2]
    own = "--phases.0.layers 4 --phases.0.freeze-layers 2 --phases.0.frozen-dropout=false"
    _, options = parse([*words.split()[:-4], *own.split()])
    phase = options.phases[0]
    assert (phase.layers, phase.freeze_layers, phase.frozen_dropout) == (4, 2, False)

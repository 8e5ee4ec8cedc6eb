import math

import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.optimizers.schedules import untuned_lamb
from tfbert.recipes.phases import (
    Phase,
    batch_orders,
    learning_rate_schedule,
    make_phases,
    scaled_to_batch,
)

GOOD = {"steps": 10, "global_batch_size": 8, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "--steps is 0: it must be at least 1"),
        ({"steps": 1.5}, "--steps is 1.5: it must be a whole number"),
        ({"global_batch_size": 0}, "--global-batch-size is 0"),
        ({"predictions": 0}, "--predictions is 0"),
        ({"sequence_length": 7}, "--sequence-length is 7: it must be at least 8"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0: it must be above 0"),
        ({"learning_rate": "high"}, "--learning-rate is 'high': it must be a finite number"),
        ({"steps": "1e3"}, "--steps is '1e3': it must be a whole number"),
        ({"warmup": 1.1}, "--warmup is 1.1: it must be from 0 to 1"),
        ({"decay_power": 0.0}, "--decay-power is 0.0"),
        ({"decay_from": "end"}, "--decay-from is 'end': it must be one of warmup, start"),
        ({"freeze_layers": -1}, "--freeze-layers is -1"),
        ({"per_device_batch_size": 0}, "--per-device-batch-size is 0"),
        ({"learning_rate": None, "warmup": 0.1}, "--warmup is 0.1: it must be left out where"),
    ],
)
def test_a_wrong_number_is_named(change, message):
    with pytest.raises(InputError, match=message):
        Phase(**{**GOOD, **change})


def test_a_number_that_yaml_takes_for_text():
    assert Phase(**{**GOOD, "learning_rate": "6e-3"}).learning_rate == 0.006


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("x", "--phases must be a list"),
        ([GOOD, 3], "--phases.1 is 3"),
        (
            [GOOD, {**GOOD, "stepz": 1}],
            "--phases.1.stepz is not an option; did you mean steps",
        ),
        ([{"steps": 1}], "--phases.0.global-batch-size must be given"),
        ([GOOD, {**GOOD, "steps": 0}], "--phases.1.steps is 0"),
        ([{**GOOD, "learning_rate": None}], "--phases.0.learning-rate must be given"),
    ],
)
def test_wrong_phases_are_named(entries, message):
    with pytest.raises(InputError, match=message):
        make_phases(entries)


@pytest.mark.parametrize("batch", [512 * 2**n for n in range(7)])
def test_scaling_gives_the_papers_untuned_series(batch):
    phases = [
        Phase(900_000, 512, learning_rate=6.25e-4, warmup=1 / 320),
        Phase(100_000, 512, sequence_length=512),
    ]
    scaled = scaled_to_batch(phases, batch)
    assert [phase.global_batch_size for phase in scaled] == [batch, batch]
    reference = untuned_lamb(batch)
    assert sum(phase.steps for phase in scaled) == pytest.approx(reference.total_steps, abs=1)
    schedule = learning_rate_schedule(scaled)
    for share in (0.001, 0.01, 0.1, 0.3, 0.95):
        step = round(share * reference.total_steps)
        assert float(schedule(step)) == pytest.approx(float(reference(step)), rel=2e-3)


def test_scaling_keeps_the_proportion_of_batches():
    phases = [Phase(100, 64, learning_rate=0.1, warmup=0.6), Phase(40, 32, learning_rate=0.2)]
    scaled = scaled_to_batch(phases, 256)
    assert [(p.steps, p.global_batch_size) for p in scaled] == [(25, 256), (10, 128)]
    assert [p.learning_rate for p in scaled] == pytest.approx([0.2, 0.4])
    assert [p.warmup for p in scaled] == [1.0, 0.0]
    for batch in (1, 64_000):
        with pytest.raises(InputError, match=f"--global-batch-size {batch}: .* cannot be scaled"):
            scaled_to_batch(phases, batch)


def test_the_rate_of_two_phases_with_and_without_a_warm_up_of_their_own():
    first = Phase(100, 8, learning_rate=0.2, warmup=0.1)
    rewarmed = learning_rate_schedule([first, Phase(50, 8, learning_rate=0.1, warmup=0.5)])
    rates = [float(rewarmed(step)) for step in (0, 5, 10, 55, 100, 125, 150)]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.1, 0, 0.1, 0], atol=1e-7)
    going_on = learning_rate_schedule([first, Phase(50, 8)])
    # 15 steps of warm-up are a tenth of both, and the rate ends after both.
    rates = [float(going_on(step)) for step in (0, 15, 100, 150)]
    np.testing.assert_allclose(rates, [0, 0.2, 0.2 * 50 / 135, 0], atol=1e-7)


def test_nvidias_schedule_falls_from_the_start():
    phase = Phase(
        7_038, 65_536, learning_rate=6e-3, warmup=0.2843, decay_power=0.5, decay_from="start"
    )
    schedule = learning_rate_schedule([phase])
    assert float(schedule(1_000)) == pytest.approx(6e-3 * 1_000 / 2_001, rel=1e-3)
    assert float(schedule(4_000)) == pytest.approx(6e-3 * math.sqrt(1 - 4_000 / 7_038), rel=1e-3)


def test_stages_see_the_batches_of_full_depth():
    phases = make_phases([{**GOOD, "steps": n} for n in (3, 2, 4)])
    assert batch_orders(phases) == [(0, 0), (0, 3), (0, 5)]
    longer = make_phases([{**GOOD, "sequence_length": 24, "steps": n} for n in (1, 2)])
    assert batch_orders([*phases, *longer, phases[0]])[3:] == [(1, 0), (1, 1), (2, 0)]

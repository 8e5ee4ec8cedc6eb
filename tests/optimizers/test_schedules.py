"""Warm-up, decay, phases, and the paper's scaling rules."""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from tfbert import PhasedSchedule, WarmupPolynomialDecay
from tfbert.optimizers import schedules


def rates(schedule, steps):
    return [float(ops.convert_to_numpy(schedule(step))) for step in steps]


@pytest.mark.parametrize(
    ("schedule", "first_step", "expected"),
    [
        (
            WarmupPolynomialDecay(1.0, total_steps=8, warmup_steps=4),
            0,
            [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0, 0],
        ),
        (
            WarmupPolynomialDecay(1.0, 10, 2, power=0.5, end_learning_rate=0.2),
            2,
            [*(0.2 + 0.8 * math.sqrt(1 - (s - 2) / 8) for s in range(2, 11)), 0.2, 0.2],
        ),
        (WarmupPolynomialDecay(1.0, 2, 2), 0, [0, 0.5, 0, 0]),
        (WarmupPolynomialDecay(1.0, 2), 0, [1, 0.5, 0]),
    ],
)
def test_warm_up_and_decay(schedule, first_step, expected):
    steps = range(first_step, first_step + len(expected))
    assert rates(schedule, steps) == pytest.approx(expected)
    assert rates(schedule, [1000])[0] == pytest.approx(schedule.end_learning_rate)


def test_decay_from_the_start_as_bert_s_code_has_it():
    """NVIDIA's PolyWarmUpScheduler: progress / warm-up, then (1 - progress) ** degree."""
    schedule = WarmupPolynomialDecay(6e-3, 7038, 2001, power=0.5, decay_from="start")
    for step in (0, 1, 1000, 2000, 2001, 5000, 7038):
        progress = step / 7038
        ratio = step / 2001 if step < 2001 else (1 - progress) ** 0.5
        assert rates(schedule, [step])[0] == pytest.approx(6e-3 * ratio, rel=1e-5, abs=1e-9)


@given(
    peak=st.floats(1e-6, 10.0),
    total=st.integers(1, 10**6),
    share=st.floats(0, 1),
    power=st.floats(0.25, 4.0),
    step=st.integers(0, 2 * 10**6),
)
def test_a_rate_is_never_outside_of_its_range(peak, total, share, power, step):
    schedule = WarmupPolynomialDecay(peak, total, int(share * total), power, peak / 10)
    rate = rates(schedule, [step])[0]
    assert 0 <= rate <= peak * (1 + 1e-6)
    if step >= total:
        assert rate == pytest.approx(peak / 10, rel=1e-5)


def test_phases_warm_up_again():
    phases = [WarmupPolynomialDecay(1.0, 4, 2), WarmupPolynomialDecay(0.5, 6, 2, power=0.5)]
    schedule = PhasedSchedule(phases)
    assert schedule.total_steps == 10
    expected = rates(phases[0], range(4)) + rates(phases[1], range(8))
    assert rates(schedule, range(12)) == pytest.approx(expected)
    assert rates(schedule, [4]) == [0.0]


@pytest.mark.parametrize(
    "schedule",
    [
        WarmupPolynomialDecay(0.3, 20, 3, 0.5, 0.01, "start", name="mine"),
        PhasedSchedule([WarmupPolynomialDecay(0.3, 20, 3), WarmupPolynomialDecay(0.1, 5)]),
    ],
)
def test_config_round_trip(schedule):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == schedule.get_config()
    assert rates(again, range(30)) == rates(schedule, range(30))


# Untuned LAMB, You et al., arXiv 1904.00962: batch, k of 5 / (2^k 10^3), 1 / warm-up ratio, steps.
UNTUNED = [
    (512, 3.0, 320, 1_000_000),
    (1024, 2.5, 160, 500_000),
    (2048, 2.0, 80, 250_000),
    (4096, 1.5, 40, 125_000),
    (8192, 1.0, 20, 62_500),
    (16384, 0.5, 10, 31_250),
    (32768, 0.0, 5, 15_625),
]


@pytest.mark.parametrize(("batch", "k", "warmup", "steps"), UNTUNED)
def test_the_untuned_series(batch, k, warmup, steps):
    schedule = schedules.untuned_lamb(batch)
    assert schedule.learning_rate == pytest.approx(5 / (2**k * 1000))
    assert schedule.total_steps == steps
    assert schedule.warmup_steps == round(steps / warmup)
    assert (schedule.power, schedule.end_learning_rate) == (1.0, 0.0)


def test_the_64k_32k_run():
    schedule = schedules.untuned_lamb([(65_536, 7_037), (32_768, 1_562)])
    assert schedule.total_steps == 8_599
    first, second = schedule.phases
    assert first.learning_rate == pytest.approx(5e-3 * math.sqrt(2))
    assert (first.warmup_steps, second.warmup_steps) == (round(7_037 * 0.4), round(1_562 * 0.2))
    assert second.learning_rate == pytest.approx(5e-3)
    assert rates(schedule, [7_037])[0] == 0.0
    peak = rates(schedule, [7_037 + second.warmup_steps])[0]
    assert peak == pytest.approx(5e-3, rel=1e-5)


def test_scaling_rules():
    assert schedules.square_root_scaled_rate(1e-3, 2048, 512) == pytest.approx(2e-3)
    assert schedules.linear_scaled_warmup(0.01, 2048, 512) == pytest.approx(0.04)
    assert schedules.linear_scaled_warmup(0.5, 2048, 512) == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"end_learning_rate": -1.0}, "end_learning_rate must not be negative"),
        ({"total_steps": 0}, "total_steps must be at least 1"),
        ({"warmup_steps": 11}, "warmup_steps must be 0 to total_steps=10"),
        ({"warmup_steps": -1}, "warmup_steps must be 0 to total_steps=10"),
        ({"power": 0.0}, "power must be positive"),
        ({"decay_from": "end"}, "decay_from must be"),
        ({"learning_rate": math.nan}, "learning_rate must be positive"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        WarmupPolynomialDecay(**{"learning_rate": 1.0, "total_steps": 10, **options})


def test_wrong_phases_and_batches():
    with pytest.raises(ValueError, match="at least one phase"):
        PhasedSchedule([])
    with pytest.raises(TypeError, match="must be a WarmupPolynomialDecay"):
        PhasedSchedule([0.1])
    with pytest.raises(ValueError, match="batch size must be at least 1"):
        schedules.square_root_scaled_rate(1.0, 0, 512)


def test_the_step_may_be_a_variable():
    step = keras.Variable(3, dtype="int")
    schedule = WarmupPolynomialDecay(1.0, 10, 6)
    assert np.asarray(ops.convert_to_numpy(schedule(step))) == pytest.approx(0.5)

"""Choosing rates, comparing on other data, and the runs themselves."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from tfbert.errors import InputError
from tfbert.notebook.pictures import draw_trials
from tfbert.notebook.trials import (
    Comparison,
    Trial,
    at_edge,
    chosen,
    compare,
    comparison_table,
    other_losses,
    paired,
    try_rates,
)


def trial(optimizer, batch_size, rate, loss):
    return Trial(optimizer, batch_size, rate, 100, loss, 1.0, "run")


TRIALS = [
    trial("lamb", 64, 1e-3, 6.0),
    trial("lamb", 64, 1e-2, 5.0),
    trial("lamb", 64, 1e-1, float("nan")),
    trial("adamw", 64, 1e-4, 5.2),
    trial("adamw", 64, 1e-3, 5.3),
    trial("lamb", 512, 1e-2, 5.5),
    trial("adamw", 512, 1e-3, 5.6),
]


def test_the_lowest_loss_is_chosen_and_a_divergence_never():
    best = chosen(TRIALS)
    assert {key: found.rate for key, found in best.items()} == {
        ("lamb", 64): 1e-2,
        ("adamw", 64): 1e-4,
        ("lamb", 512): 1e-2,
        ("adamw", 512): 1e-3,
    }
    assert chosen(TRIALS[2:3] + TRIALS[:2])["lamb", 64].loss == 5.0
    assert not at_edge(best["lamb", 64], TRIALS)
    assert at_edge(best["adamw", 64], TRIALS)


def test_a_difference_is_taken_in_pairs():
    random = np.random.default_rng(0)
    one = random.normal(5, 1, 40)
    other = one + random.normal(0.1, 0.02, 40)
    lamb, adamw, difference, half = paired(one, other)
    interval = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (lamb, adamw) == (pytest.approx(one.mean()), pytest.approx(other.mean()))
    found = (difference - half, difference + half)
    assert found == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_table_says_what_is_known():
    best = chosen(TRIALS)
    pairs = [(best["lamb", size], best["adamw", size]) for size in (64, 512)]
    comparisons = [
        Comparison(*pairs[0], 5.0, 5.2, -0.2, 0.05),
        Comparison(*pairs[1], 5.5, 5.6, -0.1, 0.15),
    ]
    text = comparison_table(comparisons, TRIALS)
    assert "| 64 | 100 | 0.01, 5.000 | 0.0001, 5.200 | -0.200 ± 0.050 |" in text
    assert "At a batch of 64 LAMB is better than AdamW on this text. The best rate of AdamW" in text
    assert "At a batch of 512 the two cannot be told apart. The best rate of LAMB and of A" in text


def test_a_panel_for_each_batch_size():
    axes = draw_trials(TRIALS)
    panels = axes.figure.axes
    assert [panel.get_title() for panel in panels] == [
        "batch 64, 100 updates",
        "batch 512, 100 updates",
    ]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["LAMB"].get_xdata(), [1e-3, 1e-2, 1e-1])
    np.testing.assert_array_equal(lines["LAMB"].get_ydata(), [6.0, 5.0, np.nan])
    rings = [tuple(ring.get_offsets()[0]) for ring in axes.collections]
    assert rings == [(1e-2, 5.0), (1e-4, 5.2)]
    assert "nats" in axes.get_ylabel()


@pytest.fixture
def config(pretrain_config):
    phase = {"sequence_length": 16, "global_batch_size": 4, "steps": 4, "learning_rate": 0.5}
    return pretrain_config(
        phases=[phase], max_sequence_length=16, num_layers=1, eval_steps=4, eval_sequences=4
    )


def test_runs_that_differ_in_the_rate_alone(config):
    found = list(try_rates(config, {"lamb": [0.01], "adamw": [0.001]}, [8]))
    assert [each[:4] for each in found] == [
        ("lamb", 8, pytest.approx(0.01 * 2**0.5), 2),  # a batch twice as large
        ("adamw", 8, pytest.approx(0.001 * 2**0.5), 2),
    ]
    assert all(np.isfinite(each.loss) for each in found)
    assert len({each.run for each in found}) == 2
    with pytest.raises(InputError, match="of which the first 9,999 chose the rates"):
        compare(found, config.data, 9_999, 64)


def test_other_losses_are_of_other_sequences(config, monkeypatch):
    from tfbert.records.batches import held_out_dataset
    from tfbert.records.description import read_dataset
    from tfbert.records.record_source import open_prepared

    monkeypatch.setattr("tfbert.notebook.trials._BATCH", 4)
    (found,) = try_rates(dataclasses.replace(config), {"lamb": [0.01]}, [4])
    losses = other_losses(found, config.data, skip=4, sequences=8)
    source = open_prepared(config.data, read_dataset(config.data), "validation", 16)
    batches = list(held_out_dataset(source, 4, 12))
    expected = []
    for inputs, targets, weights in batches[1:3]:
        predicted = np.asarray(found.model(inputs)["mlm"], np.float64)
        logs = predicted - np.logaddexp.reduce(predicted, axis=-1, keepdims=True)
        ids = np.asarray(targets["mlm"])
        picked = -np.take_along_axis(logs, ids[..., None].astype(int), -1)[..., 0]
        kept = np.asarray(weights["mlm"])
        expected.append((picked * kept).sum() / kept.sum())
    np.testing.assert_allclose(losses[: len(expected)], expected, rtol=1e-3)

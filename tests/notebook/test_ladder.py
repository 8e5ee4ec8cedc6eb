from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from tfbert.notebook import ladder as ladder_module
from tfbert.notebook import pictures
from tfbert.notebook.calibration import Reliability
from tfbert.notebook.ladder import (
    accuracy_interval,
    fastest,
    findings,
    ladder,
    ladder_table,
    last_step,
)
from tfbert.optimizers.application import TrustRatio
from tfbert.runs.outputs.curves import Point

SPEEDS = {"baseline": [4, 10], "+ batches by length": [20, 40], "+ XLA": [1, 30]}


@pytest.fixture
def results(monkeypatch):
    """Results of three runs, the folder of each named like its step."""
    monkeypatch.setattr(ladder_module, "epoch_speeds", lambda run, epochs: np.array(SPEEDS[run]))
    return {
        title: SimpleNamespace(
            run_directory=title,
            metrics={"epochs": 2, "seconds": 60.0, "accuracy": 0.875, "examples": 400},
        )
        for title in SPEEDS
    }


def test_the_first_epoch_does_not_count(results):
    steps = ladder(results)
    assert [step.speed for step in steps] == [10, 40, 30]
    assert [step.speed_up for step in steps] == [1, 4, 3]
    assert [step.gain for step in steps] == [1, 4, 0.75]
    assert fastest(results) == "+ batches by length"


def wilson(right, examples):
    """Wilson 1927, as textbooks have it."""
    z, p = 1.959963984540054, right / examples
    middle = p + z**2 / (2 * examples)
    half = z * np.sqrt(p * (1 - p) / examples + z**2 / (4 * examples**2))
    return (middle - half) / (1 + z**2 / examples), (middle + half) / (1 + z**2 / examples)


def test_the_interval_of_an_accuracy():
    for right, examples in ((350, 400), (0, 10), (872, 872), (717, 872)):
        found = accuracy_interval(right / examples, examples)
        assert found == pytest.approx(wilson(right, examples), abs=1e-9)


def test_the_table(results):
    lines = ladder_table(results).splitlines()
    low, high = wilson(350, 400)
    accuracy = f"0.875 ({low:.3f} to {high:.3f})"
    assert lines[3] == f"| + batches by length | 40.0 | 4.00 | 4.00 | 60 | {accuracy} |"
    assert last_step(results).startswith("+ XLA: 30.0 examples/s, 3.00 times the baseline")


def test_what_does_not_help_is_said(results):
    text = findings(results)
    assert "**+ batches by length** is the fastest here: 4.0 times the baseline." in text
    assert "**+ XLA** does not help on this hardware: 0.75 times the speed" in text
    assert "400 sentences cannot tell them apart" in text


def test_an_accuracy_beyond_chance_is_said(results):
    results["+ XLA"].metrics["accuracy"] = 0.7
    text = findings(results)
    assert "The accuracy of **+ XLA** is lower than the baseline's" in text
    assert "tell them apart" not in text


def test_the_bars(results):
    axes = pictures.draw_ladder(ladder(results), "a title")
    assert [bar.get_width() for bar in axes.patches] == [10, 40, 30]
    assert [text.get_text() for text in axes.texts] == ["1.0 x", "4.0 x", "3.0 x"]
    first, *_, last = (bar.get_facecolor() for bar in axes.patches)
    assert first != last  # XLA, which brings nothing, is grey
    dots = axes.figure.axes[1]
    low, high = wilson(350, 400)
    bars = [line.get_xdata() for line in dots.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose(bars, [[100 * low, 100 * high]] * 3, atol=1e-6)
    assert "%" in dots.get_xlabel()


def test_points_of_a_reliability_picture():
    curve = Reliability(np.array([0.55, 0.95]), np.array([0.6, 0.8]), np.array([10, 30]))
    axes = pictures.draw_reliability({"as trained": curve})
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    # (10 * 0.05 + 30 * 0.15) / 40
    assert labels == ["as sure as right", "as trained: calibration error 12.5 points"]
    small, large = axes.collections[0].get_sizes()
    assert large > small


def test_lengths_have_a_bar_for_each_number_of_tokens():
    axes = pictures.draw_lengths(np.array([3, 3, 5, 20]), 16)
    heights = [bar.get_height() for bar in axes.patches]
    assert (heights[3], heights[5], heights[20], sum(heights)) == (2, 1, 1, 4)


def test_curves_over_updates_and_over_time():
    points = {"a": [Point(10, 2.0, 0.0), Point(20, 1.0, 60.0)]}
    for over, expected in (("updates", [10, 20]), ("minutes", [0, 1])):
        axes = pictures.draw_curves(points, "loss", over)
        assert list(axes.lines[0].get_xdata()) == expected
        assert (axes.get_xlabel(), axes.get_ylabel()) == (over, "loss")


def test_trust_ratios_by_layer():
    ratios = {
        "token_embedding/embeddings": 0.5,
        "embeddings_layer_norm/gamma": 1.0,
        "transformer_layer_0/self_attention_layer/query/kernel": 0.1,
        "transformer_layer_0/self_attention_layer/query/bias": 1.0,
        "transformer_layer_11/feedforward_output_dense/kernel": 0.2,
        "mlm_head/dense/kernel": 0.3,
    }
    axes = pictures.draw_trust_ratios(
        {path: TrustRatio(1.0, 1.0, ratio) for path, ratio in ratios.items()}
    )
    rows = [text.get_text() for text in axes.get_yticklabels()]
    assert rows == ["embeddings", "layer 0", "layer 11", "heads"]
    kinds = [text.get_text() for text in axes.get_legend().get_texts()]
    assert kinds == ["token embedding", "query", "feedforward output", "mlm head"]

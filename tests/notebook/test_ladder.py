from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from tfbert.notebook import ladder as ladder_module
from tfbert.notebook import pictures
from tfbert.notebook.ladder import fastest, ladder, ladder_table, last_step
from tfbert.optimizers.application import TrustRatio
from tfbert.runs.outputs.curves import Point

SPEEDS = {"baseline": [4, 10], "+ batches by length": [20, 40], "+ XLA": [1, 30]}


@pytest.fixture
def results(monkeypatch):
    """Results of three runs, the folder of each named like its step."""
    monkeypatch.setattr(ladder_module, "epoch_speeds", lambda run, epochs: np.array(SPEEDS[run]))
    return {
        title: SimpleNamespace(
            run_directory=title, metrics={"epochs": 2, "seconds": 60.0, "accuracy": 0.875}
        )
        for title in SPEEDS
    }


def test_the_first_epoch_does_not_count(results):
    steps = ladder(results)
    assert [step.speed for step in steps] == [10, 40, 30]
    assert [step.speed_up for step in steps] == [1, 4, 3]
    assert fastest(results) == "+ batches by length"


def test_the_table(results):
    lines = ladder_table(results).splitlines()
    assert lines[3] == "| + batches by length | 40.0 | 4.00 | 60 | 0.875 |"
    assert last_step(results).startswith("+ XLA: 30.0 examples/s, 3.00 times the baseline")


def test_the_bars(results):
    axes = pictures.draw_ladder(ladder(results))
    assert [bar.get_width() for bar in axes.patches] == [10, 40, 30]
    assert [text.get_text() for text in axes.texts][1] == "4.0 x, accuracy 0.875"


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


def test_losses_by_batch_size():
    axes = pictures.draw_losses({"LAMB": {64: 3.0, 1024: 2.0}, "AdamW": {64: 3.0}}, "loss")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["64", "1,024"]


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

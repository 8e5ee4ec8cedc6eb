"""The script that draws the README's picture, on numbers written by hand."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "benchmarks"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        spec = importlib.util.spec_from_file_location("headline", SCRIPTS / "headline.py")
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "headline", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture
def bars(script):
    return [
        script.Bar("KerasHub", [9.0, 10.0, 11.0], [0.80, 0.81, 0.82], 872),
        script.Bar("bfloat16", [9.1, 10.0, 10.9], [0.80, 0.80, 0.83], 872),
        script.Bar("tfbert", [90.0, 100.0, 110.0], [0.80, 0.82, 0.81], 872),
    ]


def test_what_brings_nothing_is_said(script, bars):
    first, second, third = script.verdicts(bars)
    assert first == ""
    assert second.startswith("1.0 times (") and second.endswith("), no gain")
    assert third == "10.0 times (10.0 to 10.0)"
    assert (
        script.headline(bars)
        == "10.0 times the training speed of KerasHub, accuracies alike within their intervals"
    )


def test_a_worse_accuracy_is_in_the_title(script, bars):
    worse = [*bars[:2], script.Bar("tfbert", [90.0, 100.0, 110.0], [0.70, 0.71, 0.72], 872)]
    assert script.headline(worse).endswith("accuracy -10.0 points")


def test_an_interval_is_of_sentences_and_seeds(bars):
    mean, half = bars[0].accuracy
    assert mean == pytest.approx(0.81)
    of_sentences = 1.96 * math.sqrt(0.81 * 0.19 / 872)
    of_seeds = 4.302653 * 0.01 / math.sqrt(3)  # Student's t with 2 degrees of freedom
    assert half == pytest.approx(math.hypot(of_sentences, of_seeds), rel=5e-3)


def test_without_numbers_there_is_one_line(script, tmp_path):
    with pytest.raises(script.InputError, match="nothing was measured yet"):
        script.draw(tmp_path, tmp_path / "picture.png")

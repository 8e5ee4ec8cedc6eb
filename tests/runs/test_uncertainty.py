import math

import pytest

from tfbert.runs.uncertainty import accuracy_interval, log_wide_interval


@pytest.mark.parametrize(("right", "examples"), [(0, 3), (3, 3), (27, 30), (400, 872)])
def test_the_interval_is_wilsons(right, examples):
    z, share = 1.959963984540054, right / examples
    middle = (share + z**2 / (2 * examples)) / (1 + z**2 / examples)
    half = z / (1 + z**2 / examples)
    half *= math.sqrt(share * (1 - share) / examples + z**2 / (4 * examples**2))
    expected = (max(0.0, middle - half), min(1.0, middle + half))
    assert accuracy_interval(right / examples, examples) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("accuracy", "examples", "words"),
    [
        (1.0, 3, "of 3 examples is uncertain by ± 28 points"),
        (0.9, 100, "± 6 points"),
        (0.9, 872, ""),
    ],
)
def test_only_wide_intervals_are_told(accuracy, examples, words, caplog):
    caplog.set_level("INFO", "tfbert")
    log_wide_interval({"accuracy": accuracy, "examples": examples})
    assert words in caplog.text and bool(words) == bool(caplog.text)

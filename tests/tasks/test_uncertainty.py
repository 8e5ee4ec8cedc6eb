import math

import pytest

from tfbert.tasks.uncertainty import accuracy_interval, wide_interval


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
def test_only_wide_intervals_are_told(accuracy, examples, words):
    sentence = wide_interval(accuracy, examples) or ""
    assert words in sentence and bool(words) == bool(sentence)

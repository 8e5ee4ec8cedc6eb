import pytest

from tfbert.io.progress import duration


@pytest.mark.parametrize(
    ("seconds", "rounded", "exact"),
    [
        (-3.5, None, "0 s"),
        (0, "0 s", "0 s"),
        (45.7, "46 s", "45 s"),
        (63.9, "1 min", "1 min 3 s"),
        (750, "12 min", "12 min 30 s"),
        (3599.9, "1 h 0 min", "59 min 59 s"),
        (11_100, "3 h 5 min", "3 h 5 min"),
    ],
)
def test_a_time_in_words(seconds, rounded, exact):
    assert duration(seconds, exact=True) == exact
    if rounded:
        assert duration(seconds) == rounded

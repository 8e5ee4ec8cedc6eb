"""Means, ratios and differences with their confidence intervals, in numbers and in words."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats

CONFIDENCE = 0.95


def apart(one: Sequence[float], other: Sequence[float]) -> str:
    """The difference of two means in words, with its interval (Welch's) where there are several."""
    difference = statistics.mean(one) - statistics.mean(other)
    if min(len(one), len(other)) < 2 or len({*one}) == len({*other}) == 1:
        return f"{difference:+.4f}"
    low, high = stats.ttest_ind(one, other, equal_var=False).confidence_interval(CONFIDENCE)
    return f"{difference:+.4f} ({low:+.4f} to {high:+.4f})"


def half_width(values: Sequence[float]) -> float:
    """Half the confidence interval of a mean, by Student's t."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The confidence interval of a mean, by Student's t."""
    half, mean = half_width(values), statistics.mean(values)
    return mean - half, mean + half


def mean_ratio(ratios: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """The geometric mean, and its interval, or None of a single ratio."""
    logarithms = [math.log(ratio) for ratio in ratios]
    middle = math.exp(statistics.mean(logarithms))
    if len(ratios) == 1:
        return middle, None
    low, high = interval(logarithms)
    return middle, (math.exp(low), math.exp(high))


def in_words(accuracies: Sequence[float]) -> str:
    """`0.9123 (± 0.0021)`: mean and standard deviation."""
    if not accuracies:
        return "-"
    mean = f"{statistics.mean(accuracies):.4f}"
    if len(accuracies) == 1:
        return mean
    return f"{mean} (± {statistics.stdev(accuracies):.4f})"


def in_times(times: float, around: tuple[float, float] | None) -> str:
    """`8.0 (7.5 to 8.5)`."""
    return f"{times:.2f}" + (f" ({around[0]:.2f} to {around[1]:.2f})" if around else "")

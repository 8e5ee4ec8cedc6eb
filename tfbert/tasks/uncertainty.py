"""How far an accuracy may be from that on more examples of the same kind."""

_CONFIDENCE = 0.95
_WIDE = 0.1  # above, two good models cannot be told apart


def accuracy_interval(accuracy: float, examples: int) -> tuple[float, float]:
    """The interval (low, high) of an accuracy that was measured on so many examples.

    Wilson's interval of a share, at 95 %, which also serves few examples and shares of 0 or 1.
    """
    from scipy.stats import binomtest  # takes a part of a second to import

    right = round(accuracy * examples)
    interval = binomtest(right, examples).proportion_ci(_CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def wide_interval(accuracy: float, examples: int) -> str | None:
    """A sentence about an accuracy that is known to within 10 points only, or worse; else None."""
    low, high = accuracy_interval(accuracy, examples)
    if high - low <= _WIDE:
        return None
    return (
        f"the accuracy of {examples} examples is uncertain by ± {50 * (high - low):.0f} points "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %); more of them (--eval-data, "
        "--eval-fraction) make it sharper"
    )

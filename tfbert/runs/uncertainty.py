"""How far an accuracy may be from that on more examples of the same kind."""

import logging
from typing import Any

from scipy.stats import binomtest

_log = logging.getLogger("tfbert")

_CONFIDENCE = 0.95
_WIDE = 0.1  # above, two good models cannot be told apart


def accuracy_interval(accuracy: float, examples: int) -> tuple[float, float]:
    """The interval (low, high) of an accuracy that was measured on so many examples.

    Wilson's interval of a share, at 95 %, which also serves few examples and shares of 0 or 1.
    """
    right = round(accuracy * examples)
    interval = binomtest(right, examples).proportion_ci(_CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def log_wide_interval(metrics: dict[str, Any]) -> None:
    """Says in the log if the accuracy is known to within 10 points only, or worse.

    Args:
        metrics: With `accuracy` and `examples`, as `scoring.classification_metrics` returns them.
    """
    low, high = accuracy_interval(metrics["accuracy"], metrics["examples"])
    if high - low > _WIDE:
        _log.info(
            "the accuracy of %d examples is uncertain by ± %.0f points (95 %% interval %.0f to "
            "%.0f %%); more of them (--eval-data, --eval-fraction) make it sharper",
            metrics["examples"],
            50 * (high - low),
            100 * low,
            100 * high,
        )

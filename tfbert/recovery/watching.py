"""What `fit` says, in one log line, of a training that cannot go well: it does not end it."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

log = logging.getLogger("tfbert")

# To read the counter of skipped updates waits for the device: not more often than that.
_OVERFLOWS = 50
# From a scale of 2^15, 15 overflows lead to 1: an epoch of fewer says nothing.
_FEWEST = 20


def too_far_above(loss: float, beginning: float) -> bool:
    """Whether a loss has grown out of all proportion: above 3 times its beginning, plus 2.

    A cross-entropy is then worse than guessing by far. Noise does not reach that, nor a small loss
    that grows to another small one.
    """
    return loss > 3 * beginning + 2


class OverflowWatch:
    """Sees whether float16 overflows at every update, although the loss scale is the smallest.

    Args:
        model: A compiled model; without loss scaling there is nothing to see.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._updates = 0  # since the counter was read
        self._skipped: int | None = None

    def check(self, updates: int, is_end: bool = False) -> str | None:
        """Adds some updates.

        Args:
            is_end: Whether an epoch ends, so that fewer updates suffice.

        Returns:
            None, or in words that all updates since the last look were skipped.
        """
        optimizer = self._model.optimizer
        if not hasattr(optimizer, "skipped_steps"):
            return None
        from keras import ops

        skipped, self._updates = self._skipped, self._updates + updates
        if skipped is not None and self._updates < (_FEWEST if is_end else _OVERFLOWS):
            return None
        now = int(ops.convert_to_numpy(optimizer.skipped_steps))
        scale = float(ops.convert_to_numpy(optimizer.dynamic_scale))
        # What came before this watch was not seen.
        in_a_row = skipped is not None and now - skipped == self._updates
        count, self._updates, self._skipped = self._updates, 0, now
        if in_a_row and scale <= optimizer.minimum_scale:
            return f"the gradients of the last {count} updates overflowed, and none was made"
        return None


class TrainingWatch:
    """Says once that the loss has risen far above its beginning, and once that float16 overflows.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self.overflows = OverflowWatch(model)
        self._first: float | None = None  # loss
        self._has_said: set[str] = set()

    @property
    def is_new(self) -> bool:
        """Whether it has not seen a loss yet."""
        return self._first is None

    def loss(self, value: float) -> None:
        """Looks at the mean loss of the epoch so far; the first one is what it compares with."""
        if self._first is None:
            self._first = value
        risen = not math.isfinite(value) or too_far_above(value, self._first)
        if risen and "loss" not in self._has_said:
            from keras import ops

            self._has_said.add("loss")
            if not math.isfinite(self._first):
                log.warning(
                    "the loss is %.4g from the beginning: look for NaN or very large numbers in "
                    "the data, the sample weights and the model's weights",
                    value,
                )
                return
            rate = float(ops.convert_to_numpy(self._model.optimizer.learning_rate))
            log.warning(
                "the loss is %.4g, after %.4g at the beginning: the learning rate (%.3g now) is "
                "probably too high; try a tenth of it, or a longer warm-up",
                value,
                self._first,
                rate,
            )

    def overflow(self, reason: str | None) -> None:
        """Says what `OverflowWatch.check` has returned."""
        if reason and "overflow" not in self._has_said:
            self._has_said.add("overflow")
            log.warning("%s: use bfloat16 or float32", reason)

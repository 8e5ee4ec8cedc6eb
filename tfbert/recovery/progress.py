"""Where a run is: all of its state that is neither a variable nor a callback's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from tfbert.recovery.divergence import LossWatch


@dataclasses.dataclass
class Progress:
    """Position, and what is known of the epoch so far.

    Args:
        epoch, step: What comes next, both counted from 0; the step may be the end of the epoch,
            of which then only the evaluation is missing.
        epoch_examples: Examples of this epoch, which `mean_loss` is the mean over; updates, where
            all batches are taken as equal.
        mean_loss: That of the last logs.
        skipped: Lists of epoch, first and last step that are left out.
        rollbacks: How often the run went back.
        best: `step` (the checkpoint's), `epoch`, `value` and evaluation `loss` of the best epoch,
            or None.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    epoch_examples: int = 0
    mean_loss: float = 0.0
    logs: dict[str, Any] = dataclasses.field(default_factory=dict)
    skipped: list[list[int]] = dataclasses.field(default_factory=list)
    rollbacks: int = 0
    best: dict[str, Any] | None = None
    watch: LossWatch = dataclasses.field(default_factory=LossWatch)

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Progress:
        """The progress saved by `dataclasses.asdict`; `state` may have other entries as well."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: state[name] for name in names} | {"watch": LossWatch(**state["watch"])})

    def segments(self, steps: int | None) -> Iterator[tuple[int, int | None]]:
        """Ranges of steps of this epoch to train on: the remaining ones without the skipped.

        Args:
            steps: Steps an epoch, or None where it is not known.

        Yields:
            (first, end); end is None where the data decides.
        """
        first = self.step
        for epoch, skipped_first, skipped_last in sorted(self.skipped):
            if epoch == self.epoch and skipped_last >= first:
                if skipped_first > first:
                    yield first, skipped_first
                first = skipped_last + 1
        if not steps or first < steps:
            yield first, None

    def advance(
        self, first: int, last: int, logs: dict[str, float], examples: int | None = None
    ) -> str | None:
        """Adds the steps `first` to `last` of this epoch, both included, and the logs after them.

        Args:
            examples: Of these steps; None where all batches are equal.

        Returns:
            None, or in words why the run has diverged.
        """
        updates = last - first + 1
        examples = updates if examples is None else examples
        loss = float(logs.get("loss", 0.0))
        before = {"loss": self.mean_loss * self.epoch_examples}
        self.epoch_examples += examples
        recent = interval_means({"loss": loss}, self.epoch_examples, examples, before)["loss"]
        reason = self.watch.check(recent, updates)
        self.step = last + 1
        self.updates += updates
        self.mean_loss, self.logs = loss, logs
        return reason

    def end_epoch(self, logs: dict[str, float], monitor: str | None, mode: str) -> bool:
        """Moves to the next epoch.

        Args:
            monitor: Name in the logs of the value that decides which epoch is the best, or None.
            mode: `min` or `max`.

        Returns:
            Whether this epoch was the best one; of equal ones it is that of the lowest `val_loss`.
        """
        value = None if monitor is None else logs.get(monitor)
        sign = 1 if mode == "min" else -1
        before, loss = self.best, float(logs.get("val_loss", 0.0))
        if value is not None and (
            before is None
            or (sign * value, loss) < (sign * before["value"], before.get("loss", 0.0))
        ):
            self.best = {
                **{"step": self.updates, "epoch": self.epoch},
                **{"value": float(value), "loss": loss},
            }
        self.epoch, self.step = self.epoch + 1, 0
        self.epoch_examples, self.mean_loss, self.logs = 0, 0.0, logs
        return self.best is not before


def interval_means(
    logs: Mapping[str, float], seen: int, examples: int, sums: dict[str, float]
) -> dict[str, float]:
    """Means over the last interval, from the logs of Keras, which are means since the epoch began.

    Args:
        seen: Examples since the epoch began; batches, where all of them are taken as equal.
        examples: Of these, those of the interval.
        sums: By name the sum up to the last interval, empty where the epoch begins; changed to
            the sum up to this one.
    """
    means = {}
    for name, mean in logs.items():
        total = float(mean) * seen
        means[name] = (total - sums.get(name, 0.0)) / examples
        sums[name] = total
    return means

"""Where a run is: all of its state that is neither a variable nor a callback's."""

import dataclasses

from tfbert.recovery.divergence import LossWatch


@dataclasses.dataclass
class Progress:
    """Position, and what was learned on the way.

    Args:
        epoch, step: What comes next, both counted from 0; the step may be the end of the epoch,
            of which then only the evaluation is missing.
        updates: Updates made.
        epoch_examples: Examples of this epoch, which `mean_loss` is the mean over; updates, where
            all batches are taken for equal.
        mean_loss: As the logs gave it last.
        logs: The logs as they were last.
        skipped: Lists of epoch, first and last step that are left out.
        rollbacks: How often the run went back.
        best: `step` (the checkpoint's), `epoch` and `value` of the best epoch, or None.
        watch: `LossWatch`.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    epoch_examples: int = 0
    mean_loss: float = 0.0
    logs: dict = dataclasses.field(default_factory=dict)
    skipped: list = dataclasses.field(default_factory=list)
    rollbacks: int = 0
    best: dict | None = None
    watch: LossWatch = dataclasses.field(default_factory=LossWatch)

    def advance(self, first, last, logs, examples=None):
        """Takes in the steps `first` to `last` of this epoch and the logs after them.

        Args:
            first, last: Steps, both included.
            logs: As Keras' callbacks get them.
            examples: Of these steps; None where all batches are equal.

        Returns:
            None, or in words why the run has diverged.
        """
        updates = last - first + 1
        examples = updates if examples is None else examples
        total = self.epoch_examples + examples
        mean = float(logs.get("loss", 0.0))
        # The logs give the mean over the epoch so far: take what is known already out of it.
        recent = (mean * total - self.mean_loss * self.epoch_examples) / examples
        reason = self.watch.check(recent, updates)
        self.step = last + 1
        self.updates += updates
        self.epoch_examples, self.mean_loss, self.logs = total, mean, logs
        return reason

    def end_epoch(self, logs, monitor, mode):
        """Goes on to the next epoch.

        Args:
            logs: Of the epoch.
            monitor: Name in the logs by which the best epoch is told, or None.
            mode: `min` or `max`.

        Returns:
            Whether this epoch was the best one.
        """
        value = logs.get(monitor)
        sign = 1 if mode == "min" else -1
        is_best = value is not None and (
            self.best is None or sign * value < sign * self.best["value"]
        )
        if is_best:
            self.best = {"step": self.updates, "epoch": self.epoch, "value": float(value)}
        self.epoch, self.step = self.epoch + 1, 0
        self.epoch_examples, self.mean_loss, self.logs = 0, 0.0, logs
        return is_best

    def segments(self, steps):
        """Ranges of steps of this epoch to train on: what is left, without what is left out.

        Args:
            steps: Steps an epoch, or None where it is not known.

        Yields:
            (first, end); end is None where the data says it.
        """
        first = self.step
        for epoch, skipped_first, skipped_last in sorted(self.skipped):
            if epoch == self.epoch and skipped_last >= first:
                if skipped_first > first:
                    yield first, skipped_first
                first = skipped_last + 1
        if not steps or first < steps:
            yield first, None

    def to_json(self):
        """What `from_json` takes."""
        return {**vars(self), "watch": self.watch.get_state()}

    @classmethod
    def from_json(cls, state):
        """The progress that was saved; other entries may be beside it."""
        names = [field.name for field in dataclasses.fields(cls)]
        watch = LossWatch()
        watch.set_state(state["watch"])
        return cls(**{name: state[name] for name in names if name != "watch"}, watch=watch)

"""What `fit` calls around its steps, in the order of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tfbert.recovery.progress import Progress
from tfbert.recovery.watching import TrainingWatch

if TYPE_CHECKING:
    import keras


class RollBack(Exception):
    """The current epoch is stopped; the run continues from an earlier checkpoint."""


class FitHooks:
    """The base class, which only watches: without a `Recovery` nothing is saved.

    `fit` enters it with `with`, and calls the methods in the order in which they stand here. With a
    `Recovery` it is a `tfbert.recovery.session.RecoverySession`.

    Args:
        model: A compiled `DistributedTrainer`.
        epoch, step: Where to begin.
        updates: Updates made before.
    """

    def __init__(self, model: keras.Model, epoch: int, step: int, updates: int = 0) -> None:
        self.progress = Progress(epoch, step, updates)
        self.training_watch = TrainingWatch(model)
        self.first_step = step  # of the execution

    def __enter__(self) -> Self:
        """Finds the place of a run that was saved: `progress` is then that of its checkpoint."""
        return self

    def __exit__(self, *error: object) -> None:
        """Releases what `__enter__` took."""

    def begin(self, callbacks: list[keras.callbacks.Callback], data: Any) -> None:
        """Before `on_train_begin`: restores variables and log files.

        Args:
            data: Its `tfbert.fit.batches.epoch_data.EpochData`.

        Raises:
            InputError: If the data is not that of the checkpoint, or `on_nan="rollback"` is not
                possible with it.
        """

    def restore_callbacks(self) -> None:
        """After `on_train_begin`, and after `on_epoch_begin` in the middle of an epoch."""

    def before_execution(self, step: int) -> None:
        """Before the steps from `step` on."""
        self.first_step = step

    def check(self, step: int, logs: dict[str, Any]) -> None:
        """After the steps up to `step`, of these logs, before the callbacks are called.

        Raises:
            Diverged: If the loss has diverged and the run ends.
            RollBack: If the run returns to an earlier checkpoint.
        """
        watch = self.training_watch
        watch.overflow(watch.overflows.check(step - self.first_step + 1))
        if watch.is_new:  # later ones are looked at once an epoch: to read one waits for the device
            watch.loss(float(logs.get("loss", 0.0)))

    def after_execution(self) -> None:
        """After the callbacks of these steps: saves a checkpoint if one is due.

        Raises:
            Preempted: If the process was told to stop; the run is saved then.
        """

    def before_evaluation(self) -> None:
        """Keeps what the evaluation changes, in case it is interrupted."""

    def interrupts_evaluation(self) -> bool:
        """Whether the evaluation is to stop early."""
        return False

    def after_evaluation(self) -> None:
        """Raises Preempted if the process was told to stop: saved as before the evaluation."""

    def after_epoch(self, logs: dict[str, float]) -> None:
        """After `on_epoch_end`: saves a checkpoint, perhaps the best one.

        Raises:
            Diverged: If a loss in the logs is not finite.
            Preempted: As in `after_execution`.
        """
        watch = self.training_watch
        watch.overflow(watch.overflows.check(0, is_end=True))
        watch.loss(logs.get("loss", 0.0))
        self.progress.end_epoch({}, None, "min")

    def roll_back(self) -> None:
        """After a `RollBack`: continues from the newest checkpoint."""

    def finish(self) -> None:
        """At the end of training: makes sure that it is saved.

        Raises:
            Diverged: If the weights are not finite, so that they were not saved.
            Preempted: As in `after_execution`.
        """

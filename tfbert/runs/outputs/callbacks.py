"""What a fine-tuning shows: a progress bar, curves for TensorBoard, the run's status."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import keras
from tqdm import tqdm

from tfbert.recovery.progress import interval_means
from tfbert.runs.outputs.curves import CurveWriter

if TYPE_CHECKING:
    from tfbert.runs.outputs.status import RunStatus
    from tfbert.tasks.tokens.batch_sources import TrainingBatches

Logs = dict[str, float] | None  # as Keras hands them out


class ProgressBar(keras.callbacks.Callback):
    """A bar on standard error with examples a second, time left and the running metrics.

    Args:
        examples: Those of all epochs together.
        batch_size: Examples a step.
    """

    def __init__(self, examples: int, batch_size: int, title: str) -> None:
        super().__init__()
        self.examples = examples
        self.batch_size = batch_size
        self.bar = tqdm(total=examples, desc=title, unit=" examples", file=sys.stderr, smoothing=0)
        self._seen = -1

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._seen = -1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._advance(batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._advance(batch, None)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # The last batch of an epoch may have been a small one.
        self.bar.n = round(self.examples * (epoch + 1) / self.params["epochs"])
        values = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self.bar.write(f"epoch {epoch + 1}: {values}", file=sys.stderr)

    def on_train_end(self, logs: Logs = None) -> None:
        self.bar.close()

    def on_predict_end(self, logs: Logs = None) -> None:
        self.bar.n = self.examples
        self.bar.close()

    def get_state(self) -> dict[str, Any]:
        """The examples so far, for a run that is resumed."""
        return {"examples": self.bar.n, "seen": self._seen}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues where the bar was."""
        self.bar.n = self.bar.initial = state["examples"]
        self._seen = state["seen"]

    def _advance(self, batch: int, logs: Logs) -> None:
        if logs:
            shown = {name: f"{value:.4f}" for name, value in logs.items() if name != "val"}
            self.bar.set_postfix(shown, refresh=False)
        # Callbacks are called after the last of `steps_per_execution` batches.
        examples = (batch - self._seen) * self.batch_size
        self._seen = batch
        self.bar.update(min(examples, self.examples - self.bar.n))


class TensorBoardCurves(keras.callbacks.Callback):
    """Writes loss, accuracy, learning rate and examples a second; the step is the update.

    `keras.callbacks.TensorBoard` would write running means over the epoch, and count from 0 again
    in every `fit`.

    Args:
        directory: Where TensorBoard looks: `train/` and `evaluation/` in it.
        batches: The training data.
        every: Updates between two points of the training curves.
    """

    def __init__(self, directory: Any, batches: TrainingBatches, every: int = 20) -> None:
        super().__init__()
        self.batches = batches
        self.every = every
        self._curves = CurveWriter(directory)
        self._sums: dict[str, float] = {}
        self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch, self._first_update = epoch, epoch * self.params["steps"]
        self._sums, self._batches, self._time = {}, 0, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        count, now = batch + 1 - self._batches, time.perf_counter()
        if count < self.every and batch + 1 != self.params["steps"]:
            return
        examples = self.batches.examples_in(self._epoch, self._batches, batch)
        seen = self.batches.examples_in(self._epoch, 0, batch)
        values = {
            "learning_rate": float(self.model.optimizer.learning_rate),
            "examples_per_second": examples / (now - self._time),
            **interval_means(logs or {}, seen, examples, self._sums),
        }
        self._batches, self._time = batch + 1, now
        self._curves.training(self._first_update + batch + 1, values)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._curves.evaluation(self._first_update + self.params["steps"], logs)

    def on_train_end(self, logs: Logs = None) -> None:
        self._curves.close()

    def get_state(self) -> dict[str, Any]:
        """What the next points are computed from, for a run that is resumed."""
        return {"sums": self._sums, "batches": self._batches}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues between two points."""
        self._sums, self._batches = state["sums"], state["batches"]


class StatusUpdates(keras.callbacks.Callback):
    """Tells a `RunStatus` where training is."""

    def __init__(self, status: RunStatus) -> None:
        super().__init__()
        self.status = status

    def on_train_begin(self, logs: Logs = None) -> None:
        self._since: tuple[int, float] | None = None
        self.status.update(phase="training")

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch
        self.status.update(phase="training", epoch=epoch, epochs=self.params["epochs"])

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        steps, now = self.params["steps"], time.monotonic()
        changes: dict[str, Any] = {"metrics": dict(logs or {})}
        if steps:
            done, total = self._epoch * steps + batch + 1, self.params["epochs"] * steps
            changes |= {"step": done, "steps": total}
            # The first execution traces: the rate is that of those after it.
            self._since = self._since or (done, now)
            if done > self._since[0]:
                rate = (done - self._since[0]) / (now - self._since[1])
                changes |= {"steps_per_second": rate, "seconds_left": (total - done) / rate}
        self.status.update(**changes)

    def on_test_begin(self, logs: Logs = None) -> None:
        self.status.update(phase="evaluating")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.status.update(metrics=dict(logs or {}))

    def on_train_end(self, logs: Logs = None) -> None:
        self.status.update(phase="saving the model", seconds_left=None)

"""What a pre-training shows: curves, lines with the time left, the status, a history."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfbert.io.progress import duration
from tfbert.optimizers.loss_scale import innermost
from tfbert.recipes.phases import Phase, learning_rate_schedule
from tfbert.recovery.progress import interval_means
from tfbert.runs.outputs.callbacks import Logs
from tfbert.runs.outputs.curves import CurveWriter

if TYPE_CHECKING:
    from tfbert.runs.outputs.status import RunStatus

log = logging.getLogger("tfbert")

_NAMES_IN_LINES = {
    "loss": "loss {:.3f}",
    "mlm_loss": "MLM {:.3f}",
    "mlm_accuracy": "accuracy {:.3f}",
    "nsp_loss": "NSP {:.3f}",
    "nsp_accuracy": "accuracy {:.3f}",
    "teacher_tokens_loss": "teacher's tokens {:.3f}",
    "teacher_sentences_loss": "sentences {:.3f}",
    "learning_rate": "rate {:.2e}",
    "sequences_per_second": "{:.0f} sequences/s",
}

# The first updates of a run are timed for so long before its first line, which tells the time left.
_FIRST_SECONDS = 2.0


class PretrainingCurves(keras.callbacks.Callback):
    """Writes points of curves, and with each one the run's status and a line of text.

    The step of every curve is the optimizer's count of updates, over all phases. `train/` holds
    loss and accuracy of both tasks, the distances from a teacher, the rate, the gradient norm, the
    mean trust ratio, the loss scale, the model's layers and how many of them are frozen, sequences
    and tokens a second, and the utilisation of the hardware (`mfu`); `evaluation/` losses and
    accuracies on held-out text.

    Args:
        directory: Where TensorBoard looks.
        phases: All of the run, with their `layers` given.
        update_flops: For each of them, operations of the matrix products of an update.
        flops_per_second: The hardware's peak; None leaves `mfu` out.
        lines: Whether there are lines of text.
        seconds: Time from one point to the next; the first one comes earlier.
    """

    def __init__(
        self,
        directory: Any,
        phases: list[Phase],
        update_flops: Sequence[float],
        status: RunStatus,
        flops_per_second: float | None = None,
        lines: bool = True,
        seconds: float = 10.0,
    ) -> None:
        super().__init__()
        self.status = status
        self.flops_per_second = flops_per_second
        self.lines = lines
        self.seconds = seconds
        self._phases = phases
        self._schedule = learning_rate_schedule(phases)
        self._number = 0  # the phase's
        self._until_next = min(seconds, _FIRST_SECONDS)
        self._done, self._seen = 0, 0
        self._sums: dict[str, float] = {}
        self._ends = np.cumsum([phase.steps for phase in phases])
        self._flops = np.array(update_flops, float)
        self._curves = CurveWriter(directory)

    def begin_phase(self, number: int) -> None:
        """To be called before the `fit` of each phase, which are counted from 0."""
        self._number = number
        self.status.update(recipe_phase=number + 1, recipe_phases=len(self._phases))

    def on_train_begin(self, logs: Logs = None) -> None:
        self._is_warm = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._done, self._seen, self._sums = 0, 0, {}
        self._timed_from, self._time = 0, time.perf_counter()
        self.status.update(phase="training")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        now = time.perf_counter()
        self._done = batch + 1
        is_last = batch + 1 == self.params["steps"]
        if not self._is_warm and not is_last:
            # The first call traces and compiles: its time does not count.
            self._is_warm, self._timed_from, self._time = True, batch + 1, now
            return
        if now - self._time < self._until_next and not is_last:
            return
        means = interval_means(logs or {}, batch + 1, batch + 1 - self._seen, self._sums)
        updates_per_second = (batch + 1 - self._timed_from) / (now - self._time)
        self._seen = self._timed_from = batch + 1
        self._time = now
        self._until_next = self.seconds
        update = self._updates()
        values = means | self._speed(updates_per_second) | self._optimizer_values(update)
        self._curves.training(update, values)
        left = self._operations_left(update) / values["model_flops_per_second"]
        self._say(f"{update} of {self._ends[-1]}: {_in_words(values)}, {duration(left)} left")
        self.status.update(
            step=update,
            steps=int(self._ends[-1]),
            metrics=means,
            steps_per_second=updates_per_second,
            seconds_left=left,
        )

    def on_test_begin(self, logs: Logs = None) -> None:
        self.status.update(phase="evaluating")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        update = self._updates()
        if values := self._curves.evaluation(update, logs):
            self._say(f"{update}, held-out text: {_in_words(values)}")

    def get_state(self) -> dict[str, Any]:
        """What the next point is computed from, for a run that is resumed."""
        return {"done": self._done, "seen": self._seen, "sums": self._sums}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues between two points."""
        self._done, self._seen, self._sums = state["done"], state["seen"], state["sums"]
        self._timed_from = self._done

    def close(self) -> None:
        """Closes the files; to be called after the last phase."""
        self.status.update(phase="saving the model", seconds_left=None)
        self._curves.close()

    @property
    def _optimizer(self) -> Any:
        return innermost(self.model.optimizer)

    def _updates(self) -> int:
        return int(keras.ops.convert_to_numpy(self._optimizer.iterations))

    def _speed(self, updates_per_second: float) -> dict[str, float]:
        phase = self._phases[self._number]
        sequences = updates_per_second * phase.global_batch_size
        flops = updates_per_second * self._flops[self._number]
        values = {
            "layers": phase.layers,
            "frozen_layers": phase.freeze_layers,
            "sequences_per_second": sequences,
            "tokens_per_second": sequences * phase.sequence_length,
            "model_flops_per_second": flops,
        }
        if self.flops_per_second:
            values["mfu"] = flops / self.flops_per_second
        return values

    def _optimizer_values(self, update: int) -> dict[str, float]:
        optimizer, inner = self.model.optimizer, self._optimizer
        # Of the last update: the optimizer's is the next one's, 0 where a stage begins.
        values = {"learning_rate": float(self._schedule(max(0, update - 1)))}
        if optimizer is not inner:
            values["loss_scale"] = float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))
        if getattr(inner, "record_statistics", False):
            # What is frozen now had its last update long ago.
            trained = {inner.path_of(variable) for variable in self.model.trainable_variables}
            ratios = [
                ratio.trust_ratio for path, ratio in inner.trust_ratios().items() if path in trained
            ]
            values["gradient_norm"] = inner.gradient_norm()
            values["mean_trust_ratio"] = float(np.mean(ratios))
        return values

    def _operations_left(self, update: int) -> float:
        begins = self._ends - [phase.steps for phase in self._phases]
        updates_left = self._ends - np.clip(update, begins, self._ends)
        return updates_left @ self._flops

    def _say(self, text: str) -> None:
        if self.lines:
            log.info("update %s", text)


class EvaluationHistory(keras.callbacks.Callback):
    """By metric, its value after each evaluation of all phases: `history`.

    Keras' own starts from nothing in every `fit`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))

    def get_state(self) -> dict[str, Any]:
        """The history so far, for a run that is resumed."""
        return {"history": self.history}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues that history."""
        self.history = state["history"]


def _in_words(values: dict[str, float]) -> str:
    parts = [text.format(values[name]) for name, text in _NAMES_IN_LINES.items() if name in values]
    return ", ".join(parts)

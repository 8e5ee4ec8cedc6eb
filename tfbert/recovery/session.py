"""One call of `fit` that can be resumed: what happens around its steps, in the order of events.

How a killed run finds its place: `RecoverySession.__enter__` reads the newest sound checkpoint
(`Checkpoints.newest`) and its `Progress` (epoch, step, ...), from which `fit` then continues;
`begin` restores the variables, `restore_callbacks` the callbacks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Self

from tfbert.errors import InputError
from tfbert.hardware.strategies import is_chief, is_only_worker, sum_over_workers
from tfbert.io.locks import RunLock
from tfbert.recovery import callback_state
from tfbert.recovery.checkpoints import Checkpoint, Checkpoints
from tfbert.recovery.divergence import Diverged, divergence_message
from tfbert.recovery.hooks import FitHooks, RollBack
from tfbert.recovery.preemption import Preempted, Stopped, TerminationWatch
from tfbert.recovery.progress import Progress
from tfbert.recovery.snapshot import HostCopy, assign, assign_some, state_variables
from tfbert.recovery.watching import TrainingWatch

if TYPE_CHECKING:
    import keras

    from tfbert.recovery.recovery_options import Recovery

log = logging.getLogger("tfbert")


class RecoverySession(FitHooks):
    """A `fit` with a `Recovery`: it saves the run, and resumes one that was saved.

    What each method is for, and what it raises: `FitHooks`.

    Args:
        model: A compiled `DistributedTrainer`.
        epoch, step: Where a new run begins.

    Raises:
        InputError: If the checkpoints are of another run, or another process writes there.
    """

    def __init__(self, model: keras.Model, recovery: Recovery, epoch: int, step: int) -> None:
        super().__init__(model, epoch, step, recovery.first_update)
        self._model = model
        self._recovery = recovery
        self._writes = is_chief(model.distribute_strategy)
        self._checkpoints = Checkpoints(recovery.directory, recovery.keep, recovery.earlier)
        self._signal = TerminationWatch()
        self._exits = contextlib.ExitStack()
        self._checkpoint: Checkpoint | None = None  # the one that is being restored
        # Time and updates of the last save.
        self._saved_at = (time.monotonic(), recovery.first_update)
        self._is_saved = False
        self._before_evaluation: tuple[list, dict] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            if self._writes:
                exits.enter_context(RunLock(self._recovery.directory))
            exits.callback(self._checkpoints.close)
            exits.enter_context(self._signal)
            self._checkpoint = self._newest_of_chief()
            if self._checkpoint is not None:
                self._continue_from(self._checkpoint)
            self._exits = exits.pop_all()
        return self

    def _newest_of_chief(self) -> Checkpoint | None:
        """The newest sound checkpoint as the chief sees it, on every worker the same."""
        checkpoint = self._checkpoints.newest() if self._writes else None
        strategy = self._model.distribute_strategy
        step = -1 if checkpoint is None else checkpoint.step
        step = sum_over_workers(strategy, step + 1 if self._writes else 0) - 1
        if step >= 0 and not self._writes:
            return self._checkpoints.read(step)
        return checkpoint

    def _continue_from(self, checkpoint: Checkpoint) -> None:
        """Makes the checkpoint's progress and seed those of this session."""
        state = checkpoint.state
        _check_fingerprint(
            self._recovery.directory, self._recovery.fingerprint, state["fingerprint"]
        )
        self.progress = Progress.from_json(state)
        self._saved_at = (time.monotonic(), self.progress.updates)
        self._is_saved = True
        if self._model.seed != state["seed"]:
            self._model.seed = state["seed"]
            self._model.train_function = None  # it holds the seed

    def __exit__(self, *error: Any) -> None:
        self._exits.__exit__(*error)

    def begin(self, callbacks: list[keras.callbacks.Callback], data: Any) -> None:
        self._callbacks, self._data = callbacks, data
        callback_state.check_callbacks(callbacks)
        goes_back = self._recovery.on_nan == "rollback"
        if goes_back and (
            data.source is None or not is_only_worker(self._model.distribute_strategy)
        ):
            raise InputError(
                "on_nan='rollback' needs data that is a BatchSource, and one worker: no other "
                "can go back"
            )
        self._checkpoints.prepare(state_variables(self._model))
        if self._checkpoint is None:
            return
        before = self._checkpoint.state["steps_per_epoch"]
        if data.steps and before and before != data.steps:
            raise InputError(
                f"{self._recovery.directory}: the run had {before} steps an epoch and now has "
                f"{data.steps}: other data, or another batch size"
            )
        self._restore_variables(self._checkpoint)
        log.info(
            "resumed after update %d (epoch %d, step %d): %s",
            self.progress.updates,
            self.progress.epoch + 1,
            self.progress.step,
            self._checkpoints.path(self._checkpoint.step),
        )

    def _restore_variables(self, checkpoint: Checkpoint) -> None:
        assign(state_variables(self._model), checkpoint.tensors)
        callback_state.continue_files(self._callbacks, checkpoint.state["callbacks"])

    def restore_callbacks(self) -> None:
        if self._checkpoint is None:
            if self._recovery.on_nan == "rollback" and not self._is_saved:
                self._save(wait=True)  # a place to go back to
            return
        state, tensors = self._checkpoint.state, self._checkpoint.tensors
        callback_state.restore_callbacks(self._callbacks, state["callbacks"], tensors)
        self._model.stop_training = state["stop_training"]
        # A callback may set the learning rate where an epoch begins, here a second time.
        scalars = {k: v for k, v in self._variables("optimizer/").items() if len(v.shape) == 0}
        assign_some(scalars, tensors)

    def before_execution(self, step: int) -> None:
        super().before_execution(step)
        self._checkpoint = None  # all of it is restored

    def check(self, step: int, logs: dict[str, Any]) -> None:
        self._is_saved = False
        was_rising = self.progress.watch.is_rising
        logs = {name: float(value) for name, value in logs.items()}
        count = getattr(self._data.source, "examples_in", lambda *steps: None)
        examples = count(self.progress.epoch, self.first_step, step)
        overflow = self.training_watch.overflows.check(step - self.first_step + 1)
        reason = self.progress.advance(self.first_step, step, logs, examples) or overflow
        if reason is None:
            self.training_watch.loss(logs.get("loss", 0.0))
        else:
            self._stop_or_roll_back(step, reason, was_rising)

    def _stop_or_roll_back(self, last: int, reason: str, was_rising: bool) -> None:
        """Raises `Diverged`, or `RollBack` after reading the newest checkpoint."""
        progress, first = self.progress, self.first_step
        checkpoint = self._checkpoints.newest()
        message = self._divergence(reason, was_rising, last)
        if self._recovery.on_nan == "stop" or checkpoint is None:
            raise Diverged(message)
        if progress.rollbacks >= self._recovery.max_rollbacks:
            raise Diverged(f"{message}; it went back {progress.rollbacks} times before")
        progress.rollbacks += 1
        progress.skipped.append([progress.epoch, first, last])
        log.warning("%s; going back to it, without steps %d to %d", message, first, last)
        self._checkpoint = checkpoint
        raise RollBack

    def after_execution(self) -> None:
        self._stop_if_told()
        if self._model.stop_training:
            return  # the end of the epoch is next, and saved
        saved_at, updates = self._saved_at
        every = self._recovery.every_steps
        if (every and self.progress.updates - updates >= every) or (
            time.monotonic() - saved_at >= 60 * self._recovery.every_minutes
        ):
            self._save()

    def before_evaluation(self) -> None:
        metrics = HostCopy().copy(self._variables("metrics/"))
        states, arrays = callback_state.callback_states(self._callbacks)
        self._before_evaluation = states, {**metrics, **arrays}

    def interrupts_evaluation(self) -> bool:
        # Several workers go through an evaluation together.
        return self._signal.requested and is_only_worker(self._model.distribute_strategy)

    def after_evaluation(self) -> None:
        self._stop_if_told()
        self._before_evaluation = None

    def after_epoch(self, logs: dict[str, float]) -> None:
        self._is_saved = False
        for name, value in logs.items():
            if name.endswith("loss") and not math.isfinite(value):
                reason = f"{name} is {value}"
                raise Diverged(self._divergence(reason, False, self.progress.step - 1))
        if overflow := self.training_watch.overflows.check(0, is_end=True):
            raise Diverged(self._divergence(overflow, False, self.progress.step - 1))
        best_before = self.progress.best
        is_best = self.progress.end_epoch(logs, self._recovery.monitor, self._recovery.mode)
        self._stop_if_told()
        # A best one that was not written would be lost; any other can wait for the next.
        self._save(wait=is_best)
        if is_best and self._checkpoints.failure is not None:
            self.progress.best = best_before

    def roll_back(self) -> None:
        assert self._checkpoint is not None  # of `_stop_or_roll_back`
        skipped, rollbacks = self.progress.skipped, self.progress.rollbacks
        self._continue_from(self._checkpoint)
        self.training_watch = TrainingWatch(self._model)
        self.progress.skipped, self.progress.rollbacks = skipped, rollbacks
        self._restore_variables(self._checkpoint)
        self.restore_callbacks()

    def finish(self) -> None:
        if not self._is_saved:
            self._save(wait=True)
        self._checkpoints.wait()
        if self._checkpoints.is_spoiled:
            assert self._checkpoints.failure is not None
            raise Diverged(self._divergence(self._checkpoints.failure, False, self.progress.step))
        # All workers wait here, or one would read what the chief has not written yet.
        self._stop_if_told()

    def _save(self, wait: bool = False) -> None:
        """Takes a checkpoint, unless one is being written and `wait` is false."""
        if not self._writes:
            return
        if self._before_evaluation is None:
            states, arrays = callback_state.callback_states(self._callbacks)
        else:
            states, arrays = self._before_evaluation
        state = {
            **dataclasses.asdict(self.progress),
            "callbacks": states,
            "stop_training": bool(self._model.stop_training),
            "steps_per_epoch": self._data.steps,
            "seed": self._model.seed,
            "fingerprint": self._recovery.fingerprint,
        }
        variables = state_variables(self._model)
        if self._checkpoints.save(self.progress.updates, variables, state, arrays, wait):
            self._saved_at = (time.monotonic(), self.progress.updates)
            self._is_saved = True

    def _stop_if_told(self) -> None:
        """Saves and raises Preempted or Stopped if any worker was told to stop.

        None can continue without it.
        """
        if not sum_over_workers(self._model.distribute_strategy, int(self._signal.requested)):
            return
        if not self._is_saved:
            self._save(wait=True)
        self._checkpoints.wait()
        step = self._checkpoints.last if self._writes else self.progress.updates
        words = (
            f"saved at update {step} in {self._recovery.directory}"
            if self._checkpoints.failure is None
            else self._checkpoints.failure
        )
        if self._signal.by_user:
            raise Stopped(f"stopped (Ctrl-C): {words}; the same command goes on from there")
        again = "; start it again to go on" if self._checkpoints.failure is None else ""
        raise Preempted(f"told to stop (SIGTERM): {words}{again}")

    def _variables(self, prefix: str) -> dict[str, Any]:
        variables = state_variables(self._model)
        return {name: v for name, v in variables.items() if name.startswith(prefix)}

    def _divergence(self, reason: str, was_rising: bool, last: int) -> str:
        """What is known of a divergence in step `last` of this epoch, in one line."""
        progress, step = self.progress, self._checkpoints.last
        where = f"update {progress.updates} (epoch {progress.epoch + 1}, step {last})"
        good = "there is no checkpoint"
        if step is not None:
            path = self._checkpoints.path(step)
            good = f"the last good checkpoint is of update {step}: {path}"
        return divergence_message(self._model, progress.watch, where, reason, good, was_rising)


def _check_fingerprint(directory: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raises InputError where a run would be resumed with other options."""
    different = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
    if different:
        changes = (f"{name} was {theirs.get(name)}, is {ours.get(name)}" for name in different)
        raise InputError(
            f"{directory}: the run cannot go on with other options: " + "; ".join(changes)
        )

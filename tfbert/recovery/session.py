"""One call of `fit` that can be resumed: what happens beside the steps."""

import contextlib
import logging
import math
import time

from tfbert.errors import InputError
from tfbert.hardware.strategies import is_chief, is_only_worker, sum_over_workers
from tfbert.io.locks import RunLock
from tfbert.recovery import callback_state
from tfbert.recovery.checkpoints import Checkpoints
from tfbert.recovery.divergence import Diverged, likely_cause
from tfbert.recovery.preemption import Preempted, TerminationWatch
from tfbert.recovery.progress import Progress
from tfbert.recovery.snapshot import (
    HostCopy,
    assign,
    assign_some,
    non_finite_name,
    state_variables,
)

log = logging.getLogger("tfbert")


class RollBack(Exception):
    """An epoch is to be left, and the run to go on from an earlier checkpoint."""


def make_session(model, recovery, epoch, step):
    """The session of one `fit`.

    Args:
        model: A compiled `DistributedTrainer`.
        recovery: `Recovery`, or None.
        epoch, step: Where a new run begins.
    """
    if recovery is None:
        return NoRecovery(epoch, step)
    return RecoverySession(model, recovery, epoch, step)


def bring_best_weights_back(model, recovery):
    """Gives a model the weights of its best epoch by `Recovery.monitor`, after `fit`."""
    best = Checkpoints(recovery.directory).best()
    if best is not None:
        weights = {k: v for k, v in state_variables(model).items() if k.startswith("model/")}
        assign_some(weights, best.tensors)


class NoRecovery:
    """What a `fit` without a `Recovery` has in the place of a `RecoverySession`.

    Args:
        epoch, step: Where to begin.
    """

    def __init__(self, epoch, step):
        self.progress = Progress(epoch, step)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def begin(self, callbacks, data):
        """Nothing to bring back."""

    def bring_callbacks_back(self):
        """Nothing to bring back."""

    def before_execution(self, step):
        """Nothing to note."""

    def check(self, step, logs):
        """Goes on."""

    def after_execution(self):
        """Nothing to save."""

    def before_evaluation(self):
        """Nothing to keep."""

    def interrupts_evaluation(self):
        """Whether the evaluation is to end early."""
        return False

    def after_evaluation(self):
        """Nothing to save."""

    def after_epoch(self, logs):
        """Goes on."""
        self.progress.end_epoch({}, None, "min")

    def finish(self):
        """Nothing to save."""


class RecoverySession:
    """`fit` with a `Recovery`; in `with`, and the methods in their order.

    Args:
        model: A compiled `DistributedTrainer`.
        recovery: `Recovery`.
        epoch, step: Where a new run begins.

    Raises:
        InputError: If the checkpoints are of another run, or another process writes there.
    """

    def __init__(self, model, recovery, epoch, step):
        self.progress = Progress(epoch, step, recovery.first_update)
        self._model = model
        self._recovery = recovery
        self._writes = is_chief(model.distribute_strategy)
        self._checkpoints = Checkpoints(recovery.directory, recovery.keep, recovery.earlier)
        self._signal = TerminationWatch()
        self._exits = contextlib.ExitStack()
        self._checkpoint = None  # the one that is being brought back
        # Time and updates of the last save.
        self._saved_at = (time.monotonic(), recovery.first_update)
        self._is_saved = False
        self._before_evaluation = None

    def __enter__(self):
        """Takes the directory and finds the newest checkpoint."""
        with contextlib.ExitStack() as exits:
            if self._writes:
                exits.enter_context(RunLock(self._recovery.directory))
            exits.callback(self._checkpoints.close)
            exits.enter_context(self._signal)
            self._checkpoint = self._chiefs_newest()
            if self._checkpoint is not None:
                self._take_over()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *error):
        return self._exits.__exit__(*error)

    def _chiefs_newest(self):
        """The checkpoint that the chief goes on from, or None, on every worker the same."""
        checkpoint = self._checkpoints.newest() if self._writes else None
        strategy = self._model.distribute_strategy
        step = -1 if checkpoint is None else checkpoint.step
        step = sum_over_workers(strategy, step + 1 if self._writes else 0) - 1
        if step >= 0 and not self._writes:
            return self._checkpoints.read(step)
        return checkpoint

    def _take_over(self):
        """Makes the checkpoint's progress this one's."""
        state = self._checkpoint.state
        ours, theirs = self._recovery.fingerprint, state["fingerprint"]
        different = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
        if different:
            changes = (f"{name} was {theirs.get(name)}, is {ours.get(name)}" for name in different)
            raise InputError(
                f"{self._recovery.directory}: the run cannot go on with other options: "
                + "; ".join(changes)
            )
        self.progress = Progress.from_json(state)
        self._saved_at = (time.monotonic(), self.progress.updates)
        self._is_saved = True
        if self._model.seed != state["seed"]:
            self._model.seed = state["seed"]
            self._model.train_function = None  # it holds the seed

    def begin(self, callbacks, data):
        """Before `on_train_begin`: brings the variables back.

        Args:
            callbacks: List of Keras callbacks.
            data: `EpochData`.

        Raises:
            InputError: If the data is other data, or cannot go back where it should.
        """
        self._callbacks, self._data = callbacks, data
        callback_state.check_callbacks(callbacks)
        going_back = self._recovery.on_nan == "rollback"
        if going_back and (
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
        self._bring_variables_back()
        log.info(
            "resumed after update %d (epoch %d, step %d): %s",
            self.progress.updates,
            self.progress.epoch + 1,
            self.progress.step,
            self._checkpoints.path(self._checkpoint.step),
        )

    def bring_callbacks_back(self):
        """After `on_train_begin`, and `on_epoch_begin` in the middle of an epoch."""
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

    def before_execution(self, step):
        """Before the steps from `step` on."""
        self._first_step = step
        self._checkpoint = None  # all of it is back

    def check(self, step, logs):
        """After the steps up to `step`, before the callbacks hear of them.

        Args:
            step: The last step.
            logs: Its logs.

        Raises:
            Diverged: If the loss has diverged and the run ends.
            RollBack: If it goes back.
        """
        self._is_saved = False
        rising = self.progress.watch.is_rising
        logs = {name: float(value) for name, value in logs.items()}
        count = getattr(self._data.source, "examples_in", lambda *steps: None)
        examples = count(self.progress.epoch, self._first_step, step)
        reason = self.progress.advance(self._first_step, step, logs, examples)
        if reason:
            self._diverge(step, reason, rising)

    def after_execution(self):
        """After the callbacks have heard of the steps: a checkpoint if one is due.

        Raises:
            Preempted: If the process was told to end; the run is saved then.
        """
        self._end_if_told()
        if self._model.stop_training:
            return  # the end of the epoch is next, and saved
        saved_at, updates = self._saved_at
        every = self._recovery.every_steps
        if (every and self.progress.updates - updates >= every) or (
            time.monotonic() - saved_at >= 60 * self._recovery.every_minutes
        ):
            self._save()

    def before_evaluation(self):
        """Keeps what the evaluation changes, in case that it does not come to its end."""
        metrics = HostCopy().copy(self._variables("metrics/"))
        states, arrays = callback_state.callback_states(self._callbacks)
        self._before_evaluation = states, {**metrics, **arrays}

    def interrupts_evaluation(self):
        """Whether the evaluation is to end early; several workers go through it together."""
        return self._signal.requested and is_only_worker(self._model.distribute_strategy)

    def after_evaluation(self):
        """Raises Preempted if the process was told to end; it is saved as before the evaluation."""
        self._end_if_told()
        self._before_evaluation = None

    def after_epoch(self, logs):
        """After `on_epoch_end`: a checkpoint, perhaps the best one.

        Raises:
            Preempted: As in `after_execution`.
        """
        self._is_saved = False
        for name, value in logs.items():
            if name.endswith("loss") and not math.isfinite(value):
                raise Diverged(self._message(f"{name} is {value}", False, self.progress.step - 1))
        best_before = self.progress.best
        is_best = self.progress.end_epoch(logs, self._recovery.monitor, self._recovery.mode)
        self._end_if_told()
        # A best one that were not written would be lost; any other can wait for the next.
        self._save(wait=is_best)
        if is_best and self._checkpoints.failure is not None:
            self.progress.best = best_before

    def finish(self):
        """At the end of training: makes sure that it is saved.

        Raises:
            Preempted: As in `after_execution`.
        """
        if not self._is_saved:
            self._save(wait=True)
        self._checkpoints.wait()
        if self._checkpoints.is_spoiled:
            raise Diverged(self._message(self._checkpoints.failure, False, self.progress.step))
        # No worker goes on, and reads what the chief has not written yet, before all are here.
        self._end_if_told()

    def roll_back(self):
        """After a `RollBack`: takes over the newest checkpoint."""
        skipped, rollbacks = self.progress.skipped, self.progress.rollbacks
        self._take_over()
        self.progress.skipped, self.progress.rollbacks = skipped, rollbacks
        self._bring_variables_back()
        self.bring_callbacks_back()

    def _bring_variables_back(self):
        assign(state_variables(self._model), self._checkpoint.tensors)
        callback_state.reopen_files(self._callbacks, self._checkpoint.state["callbacks"])

    def _variables(self, prefix):
        variables = state_variables(self._model)
        return {name: v for name, v in variables.items() if name.startswith(prefix)}

    def _save(self, wait=False):
        """Takes a checkpoint; where one is being written and `wait` is false, not now."""
        if not self._writes:
            return
        variables = state_variables(self._model)
        if self._before_evaluation is None:
            states, arrays = callback_state.callback_states(self._callbacks)
        else:
            states, arrays = self._before_evaluation
        state = {
            **self.progress.to_json(),
            "callbacks": states,
            "stop_training": bool(self._model.stop_training),
            "steps_per_epoch": self._data.steps,
            "seed": self._model.seed,
            "fingerprint": self._recovery.fingerprint,
        }
        if self._checkpoints.save(self.progress.updates, variables, state, arrays, wait):
            self._saved_at = (time.monotonic(), self.progress.updates)
            self._is_saved = True

    def _end_if_told(self):
        # Who was told does not matter: no worker can go on without the others.
        if not sum_over_workers(self._model.distribute_strategy, int(self._signal.requested)):
            return
        if not self._is_saved:
            self._save(wait=True)
        self._checkpoints.wait()
        step = self._checkpoints.last if self._writes else self.progress.updates
        raise Preempted(
            f"told to end (SIGTERM): saved at update {step} in {self._recovery.directory}; start "
            "it again to go on"
            if self._checkpoints.failure is None
            else f"told to end (SIGTERM): {self._checkpoints.failure}"
        )

    def _diverge(self, last, reason, rising):
        progress, first = self.progress, self._first_step
        checkpoint = self._checkpoints.newest()
        message = self._message(reason, rising, last)
        if self._recovery.on_nan == "stop" or checkpoint is None:
            raise Diverged(message)
        if progress.rollbacks >= self._recovery.max_rollbacks:
            raise Diverged(f"{message}; it went back {progress.rollbacks} times before")
        progress.rollbacks += 1
        progress.skipped.append([progress.epoch, first, last])
        log.warning("%s; going back to it, without steps %d to %d", message, first, last)
        self._checkpoint = checkpoint
        raise RollBack

    def _message(self, reason, rising, last):
        """What there is to know of a divergence in step `last` of this epoch, in one line."""
        progress, step = self.progress, self._checkpoints.last
        bad = non_finite_name(HostCopy().copy(state_variables(self._model)))
        cause = likely_cause(self._model.optimizer, progress.watch, rising, bad)
        good = "there is no checkpoint"
        if step is not None:
            path = self._checkpoints.path(step)
            good = f"the last good checkpoint is of update {step}: {path}"
        where = f"update {progress.updates} (epoch {progress.epoch + 1}, step {last})"
        return f"training diverged at {where}: {reason}; {good}; likely cause: {cause}"

"""The checkpoints of a run: written while it trains; the last few and the best one are kept."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbert.errors import MachineError
from tfbert.io.paths import AnyPath
from tfbert.io.whole import remove, saving
from tfbert.recovery.checkpoint_files import (
    MANIFEST_FILE,
    DamagedCheckpoint,
    checkpoint_keys,
    checkpoint_path,
    has_manifest,
    phase_folder,
    read_checkpoint,
    read_state,
    write_checkpoint,
)
from tfbert.recovery.snapshot import HostCopy, assign_some, non_finite_name, state_variables

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from tfbert.recovery.recovery_options import Recovery

log = logging.getLogger("tfbert")

_BACKGROUND_NICENESS = 10


class Checkpoint(NamedTuple):
    """A checkpoint in memory.

    Args:
        step: The update after which it was taken.
        tensors: `{name: array}`; see `snapshot.state_variables`.
        state: All that is not an array.
    """

    step: int
    tensors: dict[str, np.ndarray]
    state: dict[str, Any]


class Checkpoints:
    """Writes and finds the checkpoints in one folder.

    `save` copies the variables while training waits; a thread of low priority checks, writes and
    cleans up. There is one copy, so only one checkpoint is written at a time: until the thread is
    done `save` does nothing, unless it is told to wait.

    A checkpoint with an inf or a NaN among weights or slots is not written: it would take the
    place of a good one. If the disk is full or a store refuses, the checkpoint is left out with a
    line in the log; the run continues, and the older ones stay.

    Args:
        directory: Local or `gs://`; made when it is needed.
        keep: How many to keep, in addition to the best one.
        earlier: Folders of earlier checkpoints of the same run, the oldest first; `keep` counts
            all of them together.
    """

    def __init__(self, directory: AnyPath, keep: int = 2, earlier: Iterable[AnyPath] = ()) -> None:
        self.directory = os.fspath(directory)
        self.keep = keep
        self.earlier = [os.fspath(folder) for folder in earlier]
        self.last: int | None = None  # step of the last one that was written
        self.failure: str | None = None  # in words, why the last one was not written
        self.is_spoiled = False  # whether that was an inf or a NaN
        self._copy = HostCopy()
        self._thread = ThreadPoolExecutor(1, "checkpoint", initializer=_yield_to_training)
        self._writing: Future[None] | None = None
        self._damaged: set[tuple[int, int]] = set()

    def prepare(self, variables: Mapping[str, Any]) -> None:
        """Allocates memory for the copy in the background, so that no checkpoint waits for it."""
        self._begin(self._copy.prepare, variables)

    def save(
        self,
        step: int,
        variables: Mapping[str, Any],
        state: dict[str, Any],
        arrays: Mapping[str, np.ndarray] | None = None,
        wait: bool = False,
    ) -> bool:
        """Takes a checkpoint.

        Args:
            step: Updates made so far.
            variables: `{name: Keras variable}` to copy.
            state: What `json` can write; it may change afterwards. `state["best"]` may be
                `{"step": ..., ...}`: the checkpoint to keep in addition to the last ones.
            arrays: `{name: array}` that do not change, to be saved with the variables.
            wait: Whether to wait for one that is being written, and for this one.

        Returns:
            Whether it was begun: False where another one is still being written.
        """
        if self.busy and not wait:
            return False
        self.wait()
        state = json.loads(json.dumps(state))
        tensors = {**self._copy.copy(variables), **(arrays or {})}
        self._begin(self._write, step, tensors, state)
        if wait:
            self.wait()
        return True

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> None:
        """Waits for what is being written; raises its errors, except those of the disk."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Waits, and ends the thread."""
        self.wait()
        self._thread.shutdown()

    def newest(self) -> Checkpoint | None:
        """The newest sound `Checkpoint`, or None if there is none.

        Damaged ones are left out with a warning.
        """
        self.wait()
        keys = checkpoint_keys(self.directory)
        for key in reversed(keys):
            path, step = checkpoint_path(self.directory, *key), key[0]
            try:
                tensors, state = read_checkpoint(path)
                if state.get("updates", step) != step:
                    raise DamagedCheckpoint(f"it was taken after {state['updates']} updates")
            except DamagedCheckpoint as error:
                rest = "there is none before it" if key == keys[0] else "the one before is taken"
                log.warning("%s: damaged: %s; %s", path, error, rest)
                self._damaged.add(key)
                continue
            self.last = step
            return Checkpoint(step, tensors, state)
        return None

    def best(self) -> Checkpoint | None:
        """The best `Checkpoint`, as the newest sound one names it.

        None if it names none, or, with a warning, if the best one is damaged.
        """
        self.wait()
        for key in reversed(checkpoint_keys(self.directory)):
            try:
                best = _best_step(read_state(checkpoint_path(self.directory, *key)))
            except DamagedCheckpoint:
                continue
            try:
                return None if best is None else self.read(best)
            except MachineError as error:
                log.warning("the best checkpoint is lost, the last weights stay: %s", error)
                return None
        return None

    def read(self, step: int) -> Checkpoint:
        """The `Checkpoint` of one step.

        Raises:
            MachineError: If it is damaged or not there.
        """
        self.wait()
        try:
            return Checkpoint(step, *read_checkpoint(self.path(step)))
        except DamagedCheckpoint as error:
            raise MachineError(f"{self.path(step)}: damaged: {error}") from error

    def path(self, step: int) -> Path:
        """The folder of the last whole checkpoint after so many updates."""
        keys = [key for key in checkpoint_keys(self.directory) if key[0] == step]
        paths = [checkpoint_path(self.directory, *key) for key in reversed(keys)]
        return next(filter(has_manifest, paths), checkpoint_path(self.directory, step))

    def _begin(self, function: Callable[..., None], *arguments: Any) -> None:
        self.wait()
        self._writing = self._thread.submit(function, *arguments)

    def _write(self, step: int, tensors: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        if name := non_finite_name(tensors):
            self.is_spoiled = True
            self._give_up(step, f"{name} holds an inf or a NaN")
            return
        folder: Path | None = None
        try:
            with saving(self.directory):
                attempts = [key[1] + 1 for key in checkpoint_keys(self.directory) if key[0] == step]
                folder = checkpoint_path(self.directory, step, max(attempts, default=0))
                folder.parent.mkdir(parents=True, exist_ok=True)
            # Where it cannot fit, it is not begun: other programs need the disk, too.
            size = sum(array.nbytes for array in tensors.values())
            with saving(folder, size, through_disk=False):
                write_checkpoint(folder, tensors, state)
            self.last, self.failure, self.is_spoiled = step, None, False
        except MachineError as error:
            if folder is not None:
                self._remove(folder)
            self._give_up(step, " ".join(str(error).split()))
            return
        try:
            self._clean_up(state)
        except OSError as error:
            log.warning("%s cannot be tidied up: %s", self.directory, error)

    def _give_up(self, step: int, reason: str) -> None:
        stays = "there is none yet" if self.last is None else f"that of step {self.last} stays"
        self.failure = f"no checkpoint at step {step}, {stays}: {reason}"
        log.warning("%s; training continues", self.failure)

    def _clean_up(self, state: dict[str, Any]) -> None:
        """Removes all but the last ones and those that these, or `state`, name as the best.

        Of several after the same updates, the last is kept.
        """
        whole = {key[0]: key for key in _whole(self.directory) if key not in self._damaged}
        kept = list(whole.values())[-self.keep :]
        self._clean_up_earlier(self.keep - len(kept))
        best = {_best_step(state)}
        for key in kept:
            try:
                best.add(_best_step(read_state(checkpoint_path(self.directory, *key))))
            except DamagedCheckpoint:
                continue  # `newest` says so when it is read
        kept += [whole[step] for step in best if step in whole]
        for key in checkpoint_keys(self.directory):
            if key not in kept:
                self._remove(checkpoint_path(self.directory, *key))

    def _clean_up_earlier(self, keep: int) -> None:
        """Leaves the last `keep` of the checkpoints in the earlier folders."""
        for folder in reversed(self.earlier):
            kept = _whole(folder)[::-1][:keep]
            keep -= len(kept)
            for key in checkpoint_keys(folder):
                if key not in kept:
                    self._remove(checkpoint_path(folder, *key))
            if not kept:
                remove(folder)

    def _remove(self, folder: Path) -> None:
        try:
            # First, so that it is not taken for a checkpoint if the rest cannot be removed.
            remove(folder / MANIFEST_FILE)
            remove(folder)
        except OSError as error:
            log.warning("%s cannot be removed: %s", folder, error)


def phase_to_resume(directory: AnyPath, count: int) -> int:
    """The last phase with a sound checkpoint, counted from 0; without any, the first phase.

    Args:
        directory: Folder of the phases' folders, see `phase_folder`.
        count: How many phases the run has.
    """
    for number in range(count - 1, 0, -1):
        if Checkpoints(phase_folder(directory, number)).newest() is not None:
            return number
    return 0


def restore_best_weights(model: keras.Model, recovery: Recovery) -> Checkpoint | None:
    """Gives a model the weights of its best epoch by `Recovery.monitor`, after `fit`.

    Returns:
        The checkpoint, whose `state["best"]["epoch"]` counts from 0; None where there is no such
        one, and nothing is changed.
    """
    best = Checkpoints(recovery.directory).best()
    if best is None:
        return None
    weights = {k: v for k, v in state_variables(model).items() if k.startswith("model/")}
    assign_some(weights, best.tensors)
    return best


def _whole(directory: AnyPath) -> list[tuple[int, int]]:
    """Keys of the checkpoints that have a manifest, the oldest first."""
    keys = checkpoint_keys(directory)
    return [key for key in keys if has_manifest(checkpoint_path(directory, *key))]


def _best_step(state: dict[str, Any]) -> int | None:
    return (state.get("best") or {}).get("step")


def _yield_to_training() -> None:
    """Lets all other threads go before this one, where the system knows threads' priorities."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND_NICENESS)

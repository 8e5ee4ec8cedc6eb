"""What a run is doing, in a file of its directory, for people and programs that look at it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from typing import Any

from tfbert.errors import InputError
from tfbert.io.locks import is_held
from tfbert.io.paths import AnyPath, as_path
from tfbert.io.progress import duration
from tfbert.io.whole import write_bytes
from tfbert.recovery.checkpoint_files import last_written

STATUS_FILE = "status.json"
_WRITE_SECONDS = 2  # between two writings of what changed
_BEAT_SECONDS = 20  # between two writings of what did not
# States in which a run has ended by itself; one that is in another and not alive was killed. In the
# file a run's state is called `phase`; the phases of a recipe are `recipe_phase` there.
ENDED = ("finished", "preempted", "stopped", "failed")


class RunStatus:
    """Keeps `status.json` up to date from a thread, so that a slow store does not stop training.

    Args:
        directory: The run directory, local or `gs://`.
    """

    def __init__(self, directory: AnyPath) -> None:
        self._path = as_path(directory) / STATUS_FILE
        self._content: dict[str, Any] = {
            "phase": "starting",
            "host": platform.node(),
            "pid": os.getpid(),
            "started": time.time(),
        }
        self._mutex = threading.Lock()
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._keep_writing, name="status", daemon=True)
        self._thread.start()

    def update(self, **changes: Any) -> None:
        """Changes entries: `phase`, `step`, `steps`, `epoch`, `epochs`, `metrics`,
        `steps_per_second`, `seconds_left`; in pre-training `recipe_phase`, `recipe_phases`."""
        with self._mutex:
            self._content.update(changes)
        self._changed.set()

    def close(self, state: str, message: str | None = None) -> None:
        """Writes how the run ended: a state of `ENDED`."""
        self._ended.set()
        self._changed.set()
        self._thread.join()
        self.update(phase=state, message=message, seconds_left=None)
        self._write()

    def _keep_writing(self) -> None:
        while not self._ended.is_set():
            self._changed.wait(_BEAT_SECONDS)
            self._changed.clear()
            self._write()
            self._ended.wait(_WRITE_SECONDS)

    def _write(self) -> None:
        with self._mutex:
            content = {**self._content, "updated": time.time()}
        # The checkpoints report a full disk; the run continues.
        with contextlib.suppress(OSError):
            write_bytes(self._path, json.dumps(content, indent=1).encode())


def read_status(directory: AnyPath) -> dict[str, Any]:
    """What a run is doing.

    Returns:
        The content of `status.json`; `alive`, whether a process is at work on the run; and
        `checkpoint`, the `step` and `time` of the newest one, or None.

    Raises:
        InputError: If there is no run, or the file is damaged.
    """
    path = as_path(directory) / STATUS_FILE
    try:
        status = json.loads(path.read_bytes())
        if not {"phase", "updated", "pid", "host"} <= set(status):
            raise ValueError("entries are missing")
        status["alive"] = is_held(directory)
        status["checkpoint"] = last_written(path.parent / "checkpoints")
        if not status["alive"] and (path.parent / "metrics.json").exists():
            status["phase"] = "finished"  # a killed process may not have written this
    except OSError as error:
        raise InputError(f"{directory}: no run: it holds no {STATUS_FILE}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged, not JSON ({error})") from error
    return status


def status_lines(directory: AnyPath, status: dict[str, Any], now: float) -> list[str]:
    """The status as lines of text; `now` is the time in seconds since 1970."""
    lines = [f"{directory}: {_condition(status)}"]
    if "step" in status:
        line = f"update {status['step']:,}"
        line += f" of {status['steps']:,}" if status.get("steps") else ""
        if "epoch" in status:
            line += f", epoch {status['epoch'] + 1}"
            line += f" of {status['epochs']}" if status.get("epochs") else ""
        if "recipe_phase" in status:
            line += f", phase {status['recipe_phase']} of {status['recipe_phases']}"
        lines.append(line)
    if status.get("metrics"):
        lines.append(", ".join(f"{k} {v:.4f}" for k, v in status["metrics"].items()))
    if status.get("steps_per_second") and status["phase"] not in ENDED:
        line = f"{status['steps_per_second']:.3g} updates a second"
        if status.get("seconds_left") is not None:
            line += f", {duration(status['seconds_left'], exact=True)} left"
        lines.append(line)
    if checkpoint := status.get("checkpoint"):
        ago = duration(now - checkpoint["time"], exact=True)
        lines.append(f"last checkpoint: update {checkpoint['step']:,}, {ago} ago")
    else:
        lines.append("no checkpoint yet")
    if status.get("message"):
        lines.append(status["message"])
    ago = duration(now - status["updated"], exact=True)
    lines.append(f"process {status['pid']} on {status['host']}, last heard of {ago} ago")
    return lines


def _condition(status: dict[str, Any]) -> str:
    state = status["phase"]
    if status["alive"]:
        return f"{state}, alive"
    if state in ENDED:
        return state
    return f"not alive, killed while {state}: start it again to go on from the last checkpoint"

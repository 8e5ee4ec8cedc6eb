"""A run directory: all results of a run, each file written whole or not at all."""

import contextlib
import dataclasses
import importlib.metadata
import math
import platform
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import yaml

from tfbert._version import __version__
from tfbert.errors import InputError, TfbertError
from tfbert.io.locks import LOCK_FILE, RunLock, is_held
from tfbert.io.paths import AnyPath, as_path, exists, why_unwritable
from tfbert.io.whole import Replaced, read_json, saving, write_bytes, write_json
from tfbert.options import read_options
from tfbert.recovery.checkpoint_files import MANIFEST_FILE
from tfbert.recovery.preemption import Preempted
from tfbert.runs.outputs.status import STATUS_FILE, RunStatus
from tfbert.tasks.known_tasks import TaskName

_PACKAGES = ("tensorflow", "tensorflow-text", "jax", "keras", "keras-hub", "numpy")
_PARTS = ("config.yaml", "metrics.json", "logs", "checkpoints", "model", STATUS_FILE)
# Options that may change when a run is resumed: they change its results by rounding at most.
_FREE_OPTIONS = {
    *("output", "overwrite", "resume", "progress"),
    *(
        "backend",
        "strategy",
        "replicas",
        "per_device_batch_size",
        "device_tokens",
        "steps_per_execution",
        "attention",
    ),
    *("checkpoint_steps", "checkpoint_minutes", "keep_checkpoints", "on_nan", "max_rollbacks"),
    *("token_cache", "data", "eval_data"),  # what is in them is compared, wherever they are now
}


class RunDirectory:
    """Paths and writers of one run.

    Args:
        path: The directory; made where it does not exist.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = as_path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.json"
        self.logs = self.path / "logs"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self._replaced = Replaced(self.path, _PARTS, last="metrics.json")

    def check_free(self, overwrite: bool) -> None:
        """Refuses a directory that holds something, unless it is a run to be overwritten.

        Raises:
            InputError: If it must not, or cannot, be written to.
        """
        if reason := why_unwritable(self.path):
            raise InputError(f"--output {self.path}: {reason}")
        if not exists(self.path) or {p.name for p in self.path.iterdir()} <= {LOCK_FILE}:
            return
        # A process that was replacing a run may have been killed: its parts are in `.replaced`.
        if not self.config.exists() and not self._replaced.path.exists():
            raise InputError(
                f"--output {self.path}: holds files that are not a run; choose another"
            )
        if not overwrite:
            is_finished = self.config.exists() and self.metrics.exists()
            raise InputError(
                f"--output {self.path}: holds a finished run"
                " (its learning rate has come to its end, so it cannot go on with more epochs or "
                f"updates; `--model {self.path}` starts another one from its weights)"
                "; choose another --output, or replace it with --overwrite"
                if is_finished
                else f"--output {self.path}: holds another run; choose another, or replace it with "
                "--overwrite"
            )

    def resumes(self, config: Any) -> bool:
        """Whether the directory holds an unfinished run that a configuration continues.

        Args:
            config: A dataclass with `resume` and `overwrite`.

        Raises:
            InputError: If the unfinished run is of other options, or `resume` finds none.
        """
        if config.overwrite:
            return False
        if self.metrics.exists() or not self.config.exists():
            if config.resume:
                found = (
                    "run" if not self.config.exists() else "unfinished run: this one is finished"
                )
                raise InputError(f"--resume: {self.path} holds no {found}")
            return False
        if is_held(self.path):
            raise InputError(f"--output {self.path}: another process is at work in it")
        if changes := self.other_options(config):
            raise InputError(
                f"--output {self.path}: holds an unfinished run of other options: "
                f"{'; '.join(changes)}; go on with its own (--resume alone takes them), choose "
                "another directory, or replace it with --overwrite"
            )
        return True

    def other_options(self, config: Any) -> list[str]:
        """How the options of the run in the directory differ from a configuration, in words.

        Options that change results by rounding at most are left out. None differ where there is no
        run.
        """
        if not self.config.exists():
            return []
        before = _flat(type(config)(**read_options(self.config, type(config))))
        now = _flat(config)
        return [
            f"--{name.replace('_', '-')} was {before.get(name)}, is {now.get(name)}"
            for name in {**before, **now}
            if name.split(".")[-1] not in _FREE_OPTIONS and before.get(name) != now.get(name)
        ]

    def recorded(self) -> dict[str, Any]:
        """What the run in the directory resolved its options to when it began, `resolved` of
        `config.yaml`; empty where there is none."""
        if not self.config.exists():
            return {}
        return yaml.safe_load(self.config.read_text(encoding="utf-8")).get("resolved") or {}

    def finished_metrics(self) -> dict[str, Any] | None:
        """The content of `metrics.json`; None where no run is finished."""
        return read_json(self.metrics) if self.metrics.exists() else None

    @contextlib.contextmanager
    def writing(self, config: Any, resumes: bool = False, **record: Any) -> Iterator[RunStatus]:
        """Makes the directory that of a run, for one process at a time, with a `RunStatus`.

        The run that a new one replaces is restored after an error, unless the new one has a
        checkpoint from which it can be resumed.

        Args:
            **record: Entries of `config.yaml` in addition to the options (`RUN_RECORD_KEYS`).

        Raises:
            InputError: If another process is at work in the directory.
            MachineError: If the system refuses to write.
        """
        with saving(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with RunLock(self.path):
            replacing = contextlib.nullcontext() if resumes else self._replacing(config, record)
            with replacing, self._followed() as status:
                yield status
            with contextlib.suppress(OSError):
                self._replaced.drop()

    @contextlib.contextmanager
    def _followed(self) -> Iterator[RunStatus]:
        """Keeps `status.json`, to the end of the run."""
        with saving(self.path):
            status = RunStatus(self.path)
        try:
            yield status
        except Preempted as error:
            status.close("preempted", str(error))
            raise
        except KeyboardInterrupt as error:
            status.close("stopped", str(error) or "stopped (Ctrl-C); the same command goes on")
            raise
        except BaseException as error:
            words = str(error) if isinstance(error, TfbertError) else type(error).__name__
            status.close("failed", words)
            raise
        status.close("finished")

    @contextlib.contextmanager
    def _replacing(self, config: Any, record: dict[str, Any]) -> Iterator[None]:
        found = {name: _installed_version(name) for name in _PACKAGES}
        versions = {name: version for name, version in found.items() if version}
        versions |= {"python": platform.python_version(), "tfbert": __version__}
        options = dataclasses.asdict(config)
        # A command's own options first, then those that it shares with others.
        fields = sorted(dataclasses.fields(config), key=lambda field: bool(field.kw_only))
        options = {field.name: options[field.name] for field in fields}
        content = {**options, **record, "versions": versions}
        text = yaml.safe_dump(content, sort_keys=False)
        with saving(self.path):
            self._replaced.set_aside()
        try:
            with saving(self.path):
                write_bytes(self.config, text.encode())
                self.checkpoints.mkdir()
            yield
        except BaseException:
            # A run with a checkpoint can be resumed, and stays in the place of the old one.
            if not (self.checkpoints.exists() and any(self.checkpoints.rglob(MANIFEST_FILE))):
                self._replaced.bring_back()
            raise

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Writes `metrics.json`, the last file of a run."""
        with saving(self.metrics):
            write_json(self.metrics, metrics)


def _flat(config: Any) -> dict[str, Any]:
    """Options by name; those of a list of phases as `phases.0.steps`."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        if isinstance(value, list) and all(isinstance(part, dict) for part in value):
            parts = [(f"{name}.{number}.", part) for number, part in enumerate(value)]
            flat |= {prefix + key: item for prefix, part in parts for key, item in part.items()}
        else:
            flat[name] = value
    return flat


def _installed_version(package: str) -> str | None:
    """On a Cloud TPU the package `tensorflow-tpu` takes the place of `tensorflow`."""
    for name in (package, f"{package}-tpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def size_in_bytes(variables: Iterable[Any]) -> int:
    """Size of Keras variables on disk, without the names and tables of HDF5."""
    return sum(
        math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in variables
    )


def read_run_config(path: AnyPath) -> dict[str, Any]:
    """The content of a fine-tuned run's `config.yaml`; empty for any other directory or name.

    Raises:
        InputError: If the file is damaged.
    """
    config = as_path(path) / "config.yaml"
    if not exists(config):
        return {}
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{config}: damaged: {' '.join(str(error).split())}") from error
    if isinstance(content, dict) and content.get("command") == "pretrain":
        return {}  # it has no task
    if not isinstance(content, dict) or content.get("task") not in typing.get_args(TaskName):
        raise InputError(f"{config}: damaged: it names no task")
    return content

"""A run directory: everything that a run leaves behind, each file written whole or not at all."""

import contextlib
import dataclasses
import importlib.metadata
import math
import os
import platform
import re
import shutil
import typing
from pathlib import Path

import yaml

from tfbert._version import __version__
from tfbert.config import TaskName
from tfbert.errors import InputError, MachineError
from tfbert.files import remove, replacing, write_json

_PACKAGES = ("tensorflow", "tensorflow-text", "keras", "keras-hub", "numpy")
_PARTS = ("config.yaml", "metrics.json", "logs", "checkpoints", "model")


class RunDirectory:
    """Paths and writers of one run.

    Args:
        path: The directory; made where it does not exist.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.json"
        self.logs = self.path / "logs"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.replaced = self.path / ".replaced"  # the run before, while this one is written

    def check_free(self, overwrite):
        """Refuses a directory that holds something, unless it is a run to be overwritten.

        Raises:
            InputError: If it must not, or cannot, be written to.
        """
        existing = self.path
        while not os.path.exists(existing):
            existing = existing.parent
        if not existing.is_dir():
            raise InputError(f"--output {self.path}: {existing} is a file")
        if len(self.path.name) > 255 or not os.access(existing, os.W_OK):
            raise InputError(f"--output {self.path}: cannot be written by this user")
        if existing != self.path or not any(self.path.iterdir()):
            return
        if not self.config.exists():
            raise InputError(f"--output {self.path}: holds files that are no run; choose another")
        if not overwrite:
            raise InputError(
                f"--output {self.path}: holds another run; choose another, or replace it with "
                "--overwrite"
            )

    @contextlib.contextmanager
    def writing(self, config, **record):
        """Makes the directory that of a new run. The run that was there comes back after an error.

        Args:
            config: The run's configuration, a dataclass.
            **record: What the run found out itself, beside the options (`RUN_RECORD_KEYS`).

        Raises:
            MachineError: If the system refuses to write.
        """
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        versions |= {"python": platform.python_version(), "tfbert": __version__}
        content = {**dataclasses.asdict(config), **record, "versions": versions}
        text = yaml.safe_dump(content, sort_keys=False)
        with saving(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._put_aside()
        try:
            with saving(self.path):
                self.checkpoints.mkdir()
                with replacing(self.config) as temporary:
                    temporary.write_text(text)
            yield
        except BaseException:
            self._bring_back()
            raise
        shutil.rmtree(self.replaced, ignore_errors=True)

    def _put_aside(self):
        if self.replaced.exists():
            # A run that replaced another one was killed: the older one is the whole one.
            self._bring_back()
        parts = [self.path / part for part in _PARTS if (self.path / part).exists()]
        if parts:
            self.replaced.mkdir()
        for part in parts:
            part.rename(self.replaced / part.name)

    def _bring_back(self):
        """Puts the old run in the place of the new one; without an old one the new one stays."""
        if not self.replaced.exists():
            return
        for part in _PARTS:
            remove(self.path / part)
        for part in self.replaced.iterdir():
            part.rename(self.path / part.name)
        self.replaced.rmdir()

    def write_metrics(self, metrics):
        """Writes `metrics.json`, the last file of a run."""
        with saving(self.metrics):
            write_json(self.metrics, metrics)


@contextlib.contextmanager
def saving(path, size=0):
    """Turns a failure to write into one line.

    Args:
        path: What is to be written, in an existing folder or one to be made.
        size: Bytes that it takes. Known beforehand, a full disk is found before HDF5 meets it,
            which prints tracebacks of its own.

    Raises:
        MachineError: If there is no room, or the system refuses.
    """
    if size:
        free = shutil.disk_usage(path.parent).free
        if free < size:
            raise MachineError(
                f"cannot write {path}: it takes {size / 1e6:.1f} MB and the disk has "
                f"{free / 1e6:.1f} MB left; what was written before is still there"
            )
    try:
        yield
    # HDF5 reports a full disk as a RuntimeError, TensorFlow as exhausted resources.
    except Exception as error:
        message = str(error)
        full = "No space left on device" in message
        if not full and not isinstance(error, OSError):
            raise
        # HDF5 hides the system's own words in a paragraph of its own.
        quoted = re.search(r"error message = '([^']*)'", message)
        reason = quoted[1] if quoted else getattr(error, "strerror", None) or message
        reason = "No space left on device" if full else reason
        raise MachineError(
            f"cannot write {path}: {reason}; what was written before is still there"
        ) from error


def size_in_bytes(variables):
    """What Keras variables take on disk, the names and the tables of HDF5 left out."""
    return sum(math.prod(variable.shape) * variable.value.dtype.size for variable in variables)


def read_run_config(path):
    """The content of a run directory's `config.yaml`; empty for any other directory or name.

    Raises:
        InputError: If the file is damaged.
    """
    config = Path(path) / "config.yaml"
    if not os.path.exists(config):
        return {}
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{config}: damaged: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or content.get("task") not in typing.get_args(TaskName):
        raise InputError(f"{config}: damaged: it names no task")
    return content

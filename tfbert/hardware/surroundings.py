"""What Keras, TensorFlow, JAX and others find around them when they are imported by a command.

A user's environment has variables that were set for other programs. Each is put right, or refused
in one line, before the library that would trip over it is imported.
"""

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import MutableMapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import FrameType, ModuleType

from tfbert.errors import InputError
from tfbert.hardware import tpu_environment

NVIDIA_DRIVER = "/dev/nvidiactl"  # there where an NVIDIA GPU can be used
_BACKENDS = ("tensorflow", "jax", "torch", "numpy", "openvino")
# What the commands run on, and the package that has it.
_OUR_BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
# Imported by Keras and TensorFlow wherever they are installed, a third of the time of both.
# Without them Keras lacks plots and wrappers, of which no command makes use.
_EXTRAS = ("matplotlib", "sklearn")
# KerasHub from this version on can be imported without TensorFlow.
_FREE_KERAS_HUB = (0, 32)


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """For `import tfbert`, before TensorFlow's own import: changes nothing that a user has chosen.

    Args:
        environment: Changed in place.
    """
    backend = environment.get("KERAS_BACKEND", "")
    if backend.lower() in _BACKENDS:
        environment["KERAS_BACKEND"] = backend.lower()  # Keras knows small letters only
    elif not backend and not _is_installed("tensorflow") and _is_installed("jax"):
        environment["KERAS_BACKEND"] = "jax"  # Keras would take TensorFlow, and fail
    # Of C++ messages, information and warnings are left out; errors as well where the only ones
    # are that there is no GPU. What matters comes as an exception.
    has_gpu = os.path.exists(NVIDIA_DRIVER)
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_gpu else "3")
    if environment.get("TF_USE_LEGACY_KERAS") and find_spec("tf_keras") is None:
        del environment["TF_USE_LEGACY_KERAS"]  # TensorFlow would look for it without end


def prepare_command(
    words: Sequence[str], environment: MutableMapping[str, str], backend: str | None = None
) -> None:
    """For a command, whose process is its own.

    Args:
        words: The command line.
        environment: Changed in place.
        backend: What `--backend` says; without it KERAS_BACKEND decides, else TensorFlow.

    Raises:
        InputError: If Keras is to run on what the commands do not run on, or what is not
            installed, or paths are not text.
    """
    check_text([*words, os.getcwd()])
    # Keras 2 is for programs that ask for it: this one runs on Keras 3.
    environment.pop("TF_USE_LEGACY_KERAS", None)
    if os.path.expanduser("~") == "~":  # no HOME, and a user whom the system does not know
        environment["HOME"] = tempfile.gettempdir()
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    backend = environment.setdefault("KERAS_BACKEND", "tensorflow")
    if backend not in _OUR_BACKENDS:
        raise InputError(
            f"KERAS_BACKEND is {backend}: the commands run on tensorflow or jax; unset it, or give "
            "--backend"
        )
    if not _is_installed(backend):
        raise InputError(
            f"{_OUR_BACKENDS[backend]} is not installed, on which Keras is to run: install it "
            "(README.md), or give another --backend"
        )
    if backend == "jax":
        tpu_environment.leave_to_jax(environment)
    sys.meta_path.insert(0, WithoutExtras(backend))


def _is_installed(package: str) -> bool:
    return package in sys.modules or find_spec(package) is not None


def check_text(paths: Sequence[str]) -> None:
    """Raises InputError where Python could not read a path in the system's encoding."""
    for path in paths:
        if any("\udc80" <= letter <= "\udcff" for letter in path):
            shown = os.fsencode(path).decode(errors="replace")
            raise InputError(
                f"{shown}: letters that this system's settings (locale) do not know, which are "
                f"for {sys.getfilesystemencoding()}: set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
            )


class WithoutExtras:
    """An entry of `sys.meta_path`: for Keras and its backend, extras are not installed.

    Those of `_EXTRAS`, and the backend that is not used: on JAX also for KerasHub and TensorBoard,
    which import TensorFlow wherever it is installed. What this package itself imports, as for
    addresses on gs://, is found.

    Args:
        backend: What Keras runs on.
    """

    def __init__(self, backend: str) -> None:
        self._refused: tuple[str, ...] = (*_EXTRAS, "jax")
        self._importers = ["keras", "tensorflow"]
        if backend == "jax":
            self._refused = (*_EXTRAS, "tensorflow", "tensorflow_text")
            self._importers = ["keras", "tensorboard"]
            if _keras_hub_version() >= _FREE_KERAS_HUB:
                self._importers.append("keras_hub")

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuses an import of an extra that stands in one of their modules."""
        if name in self._refused and _importer().partition(".")[0] in self._importers:
            raise ModuleNotFoundError(f"{name} is left out", name=name)
        return None


def _keras_hub_version() -> tuple[int, ...]:
    """Of the first two numbers; empty where it is not installed."""
    try:
        numbers = importlib.metadata.version("keras-hub").split(".")[:2]
        return tuple(map(int, numbers))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ()


def _importer() -> str:
    """The name of the module in which the import statement stands that is at work."""
    frame: FrameType | None = sys._getframe(2)
    # The import statement may be `importlib.import_module`, as Keras has it for TensorFlow.
    while frame is not None and _name_in(frame).partition(".")[0] == "importlib":
        frame = frame.f_back
    return "" if frame is None else _name_in(frame)


def _name_in(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "")

"""What Keras, TensorFlow and others find around them when they are imported by a command.

A user's environment has variables that were set for other programs. Each is put right, or refused
in one line, before the library that would trip over it is imported.
"""

import os
import sys
import tempfile
from collections.abc import MutableMapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import FrameType, ModuleType

from tfbert.errors import InputError

NVIDIA_DRIVER = "/dev/nvidiactl"  # there where an NVIDIA GPU can be used
_BACKENDS = ("tensorflow", "jax", "torch", "numpy", "openvino")
# Imported by Keras and TensorFlow wherever they are installed, a third of the time of both.
# Without them Keras lacks plots and wrappers, of which no command makes use.
_EXTRAS = ("matplotlib", "sklearn", "jax")


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """For `import tfbert`, before TensorFlow's own import: changes nothing that a user has chosen.

    Args:
        environment: Changed in place.
    """
    backend = environment.get("KERAS_BACKEND", "")
    if backend.lower() in _BACKENDS:
        environment["KERAS_BACKEND"] = backend.lower()  # Keras knows small letters only
    # Of C++ messages, information and warnings are left out; errors as well where the only ones
    # are that there is no GPU. What matters comes as an exception.
    has_gpu = os.path.exists(NVIDIA_DRIVER)
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_gpu else "3")
    if environment.get("TF_USE_LEGACY_KERAS") and find_spec("tf_keras") is None:
        del environment["TF_USE_LEGACY_KERAS"]  # TensorFlow would look for it without end


def prepare_command(words: Sequence[str], environment: MutableMapping[str, str]) -> None:
    """For a command, whose process is its own.

    Args:
        words: The command line.
        environment: Changed in place.

    Raises:
        InputError: If Keras is to run on something else than TensorFlow, or paths are not text.
    """
    check_text([*words, os.getcwd()])
    # Keras 2 is for programs that ask for it: this one runs on Keras 3.
    environment.pop("TF_USE_LEGACY_KERAS", None)
    if os.path.expanduser("~") == "~":  # no HOME, and a user whom the system does not know
        environment["HOME"] = tempfile.gettempdir()
    backend = environment.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND is {backend}: the commands run on tensorflow; unset it, or set "
            "KERAS_BACKEND=tensorflow"
        )
    sys.meta_path.insert(0, WithoutExtras)


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
    """An entry of `sys.meta_path`: for Keras and TensorFlow, `_EXTRAS` are not installed."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuses an import of an extra that stands in one of their modules."""
        if name in _EXTRAS and _importer().partition(".")[0] in ("keras", "tensorflow"):
            raise ModuleNotFoundError(f"{name} is left out", name=name)
        return None


def _importer() -> str:
    """The name of the module in which the import statement stands that is at work."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("importlib."):
        frame = frame.f_back
    return "" if frame is None else frame.f_globals.get("__name__", "")

"""What TensorFlow must find in the environment, before its import, to use a TPU of this machine.

Only where there is a TPU: a process without one would end with these variables.

References:
    https://cloud.google.com/tpu/docs/run-calculation-tensorflow
"""

import importlib.util
import os
from collections.abc import Callable, MutableMapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TypeAlias

FindPackage: TypeAlias = Callable[[str], ModuleSpec | None]

_INSTALLED_LIBRARY = Path("lib/libtpu.so")  # on Google's TensorFlow images
# TPUs appear as one device a chip: /dev/accel0 up to v4, /dev/vfio/0 later.
_DEVICES = ("accel[0-9]*", "vfio/[0-9]*")


def prepare(
    environment: MutableMapping[str, str] = os.environ,
    root: str | Path = "/",
    find_package: FindPackage = importlib.util.find_spec,
) -> bool:
    """Sets the environment on a machine with a TPU of its own; what is already set stays.

    Nothing is set for Keras on JAX, which finds a TPU by itself.
    Where `TPU_NAME` or `TPU_LOAD_LIBRARY` is set, the user has chosen another TPU, and nothing is
    set.

    Args:
        environment: Changed in place.
        root: The root of the file system.

    Returns:
        Whether this process is to use the TPU of its machine.
    """
    if environment.get("KERAS_BACKEND") == "jax":
        leave_to_jax(environment)
        return False
    library = find_tpu_library(root, find_package)
    if library is None or not {"TPU_NAME", "TPU_LOAD_LIBRARY"}.isdisjoint(environment):
        return environment.get("TPU_NAME") == "local"
    environment["TPU_NAME"] = "local"
    environment.setdefault("PJRT_DEVICE", "TPU")
    environment.setdefault("NEXT_PLUGGABLE_DEVICE_USE_C_API", "true")
    environment.setdefault("TF_PLUGGABLE_DEVICE_LIBRARY_PATH", str(library))
    return True


def leave_to_jax(environment: MutableMapping[str, str]) -> None:
    """Takes out what would have TensorFlow open the TPU that JAX is to use.

    TensorFlow is imported beside JAX for addresses on gs://.
    """
    for name in ("NEXT_PLUGGABLE_DEVICE_USE_C_API", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH"):
        environment.pop(name, None)


def find_tpu_library(
    root: str | Path = "/", find_package: FindPackage = importlib.util.find_spec
) -> Path | None:
    """The TPU's library on a machine that has a TPU; None on any other.

    Other devices have the same names, and other machines have the library: both must be there.
    """
    if not any(next((Path(root) / "dev").glob(pattern), None) for pattern in _DEVICES):
        return None
    package = find_package("libtpu")
    if package is not None and package.submodule_search_locations:
        library = Path(package.submodule_search_locations[0]) / "libtpu.so"
        if library.is_file():
            return library
    library = Path(root) / _INSTALLED_LIBRARY
    return library if library.is_file() else None

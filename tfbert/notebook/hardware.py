"""What a notebook runs on."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable, MutableMapping
from importlib.util import find_spec
from pathlib import Path

from tfbert.errors import InputError
from tfbert.hardware.strategies import backend
from tfbert.hardware.tpu_environment import leave_to_jax

_NO_JAX = (
    "this is a TPU runtime, and there is no JAX, on which TPUs are trained (TensorFlow has no "
    "support for today's): `%pip install 'jax[tpu]'`, restart the runtime, run all cells again; "
    "or choose Runtime > Change runtime type > T4 GPU"
)
_STARTED = (
    "this is a TPU runtime, and Keras was imported before with TensorFlow, which does not train on "
    "today's TPUs: restart the runtime, and run all cells again"
)


def is_tpu_runtime(environment: Iterable[str] = os.environ, root: str | Path = "/") -> bool:
    """Whether this machine is one of Colab's or Kaggle's with a TPU."""
    hosted = any(name.startswith(("COLAB_", "KAGGLE_")) for name in environment)
    # Not TPU_NAME: `import tfbert` may have set it.
    named = any(name.startswith(("COLAB_TPU", "TPU_ACCELERATOR")) for name in environment)
    return named or (hosted and any((Path(root) / "dev").glob("accel[0-9]*")))


def use_tpu(environment: MutableMapping[str, str] = os.environ) -> None:
    """Has Keras run on JAX; to be called on a TPU runtime, before Keras is imported.

    Args:
        environment: Changed in place.

    Raises:
        InputError: If there is no JAX, or Keras runs already on something else.
    """
    if find_spec("jax") is None:
        raise InputError(_NO_JAX)
    if "keras" in sys.modules and backend() != "jax":
        raise InputError(_STARTED)
    environment["KERAS_BACKEND"] = "jax"
    leave_to_jax(environment)


def describe_hardware() -> str:
    """What this machine computes with, as lines of text."""
    import keras
    import keras_hub

    from tfbert.hardware.precision import choose_precision, cpu_info

    accelerators = _accelerators()
    lines = [f"{kind:<11}{name}" for kind, name in accelerators] or ["GPU        none"]
    on = {"tensorflow": "TensorFlow", "jax": "JAX"}[backend()]
    version = importlib.metadata.version(backend())
    if not accelerators and Path("/dev/nvidia0").exists():
        package = "tensorflow[and-cuda]==2.20.*" if on == "TensorFlow" else "jax[cuda12]"
        lines += [
            f"           There is one that {on} does not see: "
            f"%pip install '{package}', then restart the runtime."
        ]
    lines += [
        f"CPU        {os.cpu_count()} x {cpu_info('model name') or platform.machine()}",
        f"memory     {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        f"load       {os.getloadavg()[0]:.1f}, that of other processes included",
        f"precision  {choose_precision('auto')} is what this hardware is fastest in",
        f"software   Python {platform.python_version()}, {on} {version}, "
        f"Keras {keras.__version__}, KerasHub {keras_hub.__version__}",
    ]
    return "\n".join(lines)


def has_accelerator() -> bool:
    """Whether TensorFlow or JAX sees a GPU, or JAX a TPU."""
    return bool(_accelerators())


def _accelerators() -> list[tuple[str, str]]:
    """`GPU` or `TPU`, and the name, of each that Keras' backend sees."""
    if backend() == "jax":
        import jax

        devices = [device for device in jax.local_devices() if device.platform != "cpu"]
        return [(device.platform.upper(), device.device_kind) for device in devices]
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    gpus = tf.config.list_physical_devices("GPU")
    return [("GPU", details(gpu).get("device_name", gpu.name)) for gpu in gpus]

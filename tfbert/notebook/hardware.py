"""What a notebook runs on."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

TPU_RUNTIME = (
    "this is a TPU runtime, and the notebook needs a GPU or a CPU: Colab's TPU runtimes have no "
    "TensorFlow for TPUs since 2025. Choose Runtime > Change runtime type > T4 GPU, and run all "
    "cells again. For Cloud TPU see docs/cloud_tpu.md"
)


def is_tpu_runtime(environment: Iterable[str] = os.environ, root: str | Path = "/") -> bool:
    """Whether this machine is one of Colab's or Kaggle's with a TPU."""
    hosted = any(name.startswith(("COLAB_", "KAGGLE_")) for name in environment)
    # Not TPU_NAME: `import tfbert` may have set it.
    named = any(name.startswith(("COLAB_TPU", "TPU_ACCELERATOR")) for name in environment)
    return named or (hosted and any((Path(root) / "dev").glob("accel[0-9]*")))


def describe_hardware() -> str:
    """What this machine computes with, as lines of text."""
    import keras
    import keras_hub

    from tfbert.hardware.precision import choose_precision, cpu_info
    from tfbert.hardware.strategies import backend

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


def has_gpu() -> bool:
    """Whether TensorFlow or JAX sees a GPU."""
    return any(kind == "GPU" for kind, _ in _accelerators())


def _accelerators() -> list[tuple[str, str]]:
    """`GPU` or `TPU`, and the name, of each that Keras' backend sees."""
    from tfbert.hardware.strategies import backend

    if backend() == "jax":
        import jax

        devices = [device for device in jax.local_devices() if device.platform != "cpu"]
        return [(device.platform.upper(), device.device_kind) for device in devices]
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    gpus = tf.config.list_physical_devices("GPU")
    return [("GPU", details(gpu).get("device_name", gpu.name)) for gpu in gpus]

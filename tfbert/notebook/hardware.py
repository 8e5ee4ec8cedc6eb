"""What a notebook runs on, and which settings suit it."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfbert.errors import InputError

_TPU_RUNTIME = (
    "this is a TPU runtime, and the notebook needs a GPU or a CPU: Colab's TPU runtimes have no "
    "TensorFlow for TPUs since 2025. Choose Runtime > Change runtime type > T4 GPU. For Cloud TPU "
    "see docs/cloud_tpu.md"
)


def is_tpu_runtime(environment: Iterable[str] = os.environ, root: str | Path = "/") -> bool:
    """Whether this machine is one of Colab's or Kaggle's with a TPU."""
    hosted = any(name.startswith(("COLAB_", "KAGGLE_")) for name in environment)
    # Not TPU_NAME: `import tfbert` may have set it.
    named = any(name.startswith(("COLAB_TPU", "TPU_ACCELERATOR")) for name in environment)
    return named or (hosted and any((Path(root) / "dev").glob("accel[0-9]*")))


def describe_hardware() -> str:
    """What this machine computes with, as lines of text.

    Raises:
        InputError: On a TPU runtime of Colab or Kaggle.
    """
    if is_tpu_runtime():
        raise InputError(_TPU_RUNTIME)
    import keras
    import keras_hub
    import tensorflow as tf

    from tfbert.hardware.precision import choose_precision

    gpus = tf.config.list_physical_devices("GPU")
    lines = [f"GPU        {_gpu_name(gpu)}" for gpu in gpus] or ["GPU        none"]
    if not gpus and Path("/dev/nvidia0").exists():
        lines += [
            "           There is one that TensorFlow does not see: "
            "%pip install 'tensorflow[and-cuda]==2.20.*', then restart the runtime."
        ]
    lines += [
        f"CPU        {os.cpu_count()} x {_cpu_name()}",
        f"memory     {_memory_gib():.0f} GiB",
        f"load       {os.getloadavg()[0]:.1f}, that of other processes included",
        f"precision  {choose_precision('auto')} is what this hardware is fastest in",
        f"software   Python {platform.python_version()}, TensorFlow {tf.__version__}, "
        f"Keras {keras.__version__}, KerasHub {keras_hub.__version__}",
    ]
    return "\n".join(lines)


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _gpu_name(gpu: Any) -> str:
    import tensorflow as tf

    return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30

"""What a notebook runs on."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
    import tensorflow as tf

    from tfbert.hardware.precision import choose_precision, cpu_info

    gpus = tf.config.list_physical_devices("GPU")
    lines = [f"GPU        {_gpu_name(gpu)}" for gpu in gpus] or ["GPU        none"]
    if not gpus and Path("/dev/nvidia0").exists():
        lines += [
            "           There is one that TensorFlow does not see: "
            "%pip install 'tensorflow[and-cuda]==2.20.*', then restart the runtime."
        ]
    lines += [
        f"CPU        {os.cpu_count()} x {cpu_info('model name') or platform.machine()}",
        f"memory     {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
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

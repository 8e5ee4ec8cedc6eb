"""Chooses the precision in which the hardware computes fastest."""

import logging
from collections.abc import Iterable
from pathlib import Path

from tfbert.errors import InputError
from tfbert.hardware import jax_devices
from tfbert.hardware.strategies import backend

log = logging.getLogger("tfbert")

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
_BFLOAT16_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}


def choose_precision(requested: str) -> str:
    """The precision to compute in, and a log line that says why.

    Args:
        requested: `auto`, `float32`, `bfloat16` or `float16`.

    Returns:
        `float32`, `bfloat16` or `float16`. Layer normalisation statistics, logits, loss, optimizer
        and the variables of a model that is trained are float32 in each.

    Raises:
        InputError: If float16 is asked for on a TPU.
    """
    if backend() == "tensorflow":
        has_tpu, capabilities = _tensorflow_devices()
    else:
        has_tpu, capabilities = jax_devices.has_tpu(), jax_devices.gpu_capabilities()
    if has_tpu and requested == "float16":
        raise InputError("--precision float16: TPUs compute in bfloat16 or float32")
    if requested != "auto":
        return requested
    if has_tpu:
        precision, reason = "bfloat16", "TPU"
    elif capabilities:
        # A mixed set of GPUs computes in what the oldest of them can do.
        capability = min(capabilities)
        precision = precision_for_gpu(capability)
        reason = f"GPU with compute capability {capability[0]}.{capability[1]}"
    elif backend() == "jax":
        precision, reason = "float32", "CPU, where XLA computes bfloat16 no faster"
    else:
        precision, reason = precision_for_cpu((cpu_info("flags") or "").split())
    log.info("precision: %s (%s)", precision, reason)
    return precision


def _tensorflow_devices() -> tuple[bool, list[tuple[int, int]]]:
    """Whether there is a TPU, and the compute capability of each GPU."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    capabilities = [
        details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return bool(tf.config.list_physical_devices("TPU")), capabilities


def precision_for_gpu(capability: tuple[int, int]) -> str:
    """Precision by (major, minor) compute capability: tensor cores came with 7.0 (Volta, float16),
    bfloat16 with 8.0 (Ampere)."""
    if capability >= (8, 0):
        return "bfloat16"
    return "float16" if capability >= (7, 0) else "float32"


def precision_for_cpu(flags: Iterable[str]) -> tuple[str, str]:
    """Precision and reason by the processor's feature flags, as Linux names them."""
    fast = sorted(_BFLOAT16_CPU_FLAGS & set(flags))
    if fast:
        return "bfloat16", f"CPU with {', '.join(fast)}"
    return "float32", "CPU without bfloat16 instructions"


def cpu_info(field: str) -> str | None:
    """What Linux says of the processor: `flags`, `model name`; None where it does not say it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith(field)), None)

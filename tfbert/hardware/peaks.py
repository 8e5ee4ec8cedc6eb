"""The most that a device computes: the speed of a large matrix product, measured.

Training is compared with it, as the utilisation of the hardware (`mfu`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfbert.hardware.strategies import backend, is_tpu, replica_devices

if TYPE_CHECKING:
    import tensorflow as tf


def matmul_peak(dtype: str, device: str | None = None) -> float:
    """What one device does at most, measured with a large matrix product.

    Args:
        dtype: `float32`, `bfloat16` or `float16`.
        device: Its name; None takes what TensorFlow or JAX would take. JAX takes its default device
            in any case.

    Returns:
        Operations a second; the best of some products that take a second together.
    """
    product, size = _tensorflow_product(dtype, device) if backend() != "jax" else _product(dtype)
    times: list[float] = []
    end = time.perf_counter() + 1.0
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        # Reading one number waits for the device.
        float(product())
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def _tensorflow_product(dtype: str, device: str | None) -> tuple[Callable[[], Any], int]:
    """What multiplies two square matrices and returns one number of the product; their size."""
    import tensorflow as tf

    with tf.device(device):
        size = _size("CPU" in tf.zeros(()).device)
        matrix = tf.cast(tf.random.normal((size, size)), dtype)

    def product() -> Any:
        with tf.device(device):
            return tf.matmul(matrix, matrix)[0, 0]

    return product, size


def _product(dtype: str) -> tuple[Callable[[], Any], int]:
    """As `_tensorflow_product`, on JAX."""
    import jax

    size = _size(jax.default_backend() == "cpu")
    matrix = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    multiply = jax.jit(lambda matrix: matrix @ matrix)
    return lambda: multiply(matrix)[0, 0], size


def _size(is_cpu: bool) -> int:
    return 2_048 if is_cpu else 8_192


def strategy_matmul_peak(strategy: tf.distribute.Strategy, dtype: str) -> float | None:
    """What all devices of a strategy do at most together: `matmul_peak` times their number.

    Logical devices of a CPU share it, so that they count as one on each machine. A TPU is not
    measured, as it is slow at single products that a host asks for.

    Returns:
        Operations a second; None on a TPU.
    """
    if is_tpu(strategy):
        return None
    here = replica_devices(strategy)
    count = strategy.num_replicas_in_sync
    if "CPU" in here[0].upper():
        count //= len(here)
    return count * matmul_peak(dtype, here[0])

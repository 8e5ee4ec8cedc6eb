"""The most that a device computes: the speed of a large matrix product, measured.

Training is compared with it, as the utilisation of the hardware (`mfu`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tfbert.hardware.strategies import replica_devices

if TYPE_CHECKING:
    import tensorflow as tf


def matmul_peak(dtype: str, device: str | None = None) -> float:
    """What one device does at most, measured with a large matrix product.

    Args:
        dtype: `float32`, `bfloat16` or `float16`.
        device: Its name; None takes what TensorFlow would take.

    Returns:
        Operations a second; the best of some products that take a second together.
    """
    import tensorflow as tf

    times: list[float] = []
    with tf.device(device):
        size = 2_048 if "CPU" in tf.zeros(()).device else 8_192
        matrix = tf.cast(tf.random.normal((size, size)), dtype)
        end = time.perf_counter() + 1.0
        while len(times) < 3 or time.perf_counter() < end:
            began = time.perf_counter()
            # Reading one number waits for the device.
            float(tf.matmul(matrix, matrix)[0, 0])
            times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def strategy_matmul_peak(strategy: tf.distribute.Strategy, dtype: str) -> float | None:
    """What all devices of a strategy do at most together: `matmul_peak` times their number.

    Logical devices of a CPU share it, so that they count as one on each machine. A TPU is not
    measured, as it is slow at single products that a host asks for.

    Returns:
        Operations a second; None on a TPU.
    """
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.TPUStrategy):
        return None
    here = replica_devices(strategy)
    count = strategy.num_replicas_in_sync
    if "CPU" in here[0]:
        count //= len(here)
    return count * matmul_peak(dtype, here[0])

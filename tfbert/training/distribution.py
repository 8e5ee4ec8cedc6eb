"""Picks the devices to train on."""

import functools
import logging

from tfbert.errors import InputError

log = logging.getLogger("tfbert")


def get_strategy(replicas=None):
    """A `tf.distribute` strategy over this machine's devices, and a log line that names them.

    Args:
        replicas: Number of devices; None takes every GPU, else one CPU. Without GPUs, two or more
            are logical devices of the CPU: they share its cores, and serve to try out training on
            several devices.

    Returns:
        TensorFlow's default strategy for one device, a `MirroredStrategy` for several.

    Raises:
        InputError: If the machine has fewer GPUs, or TensorFlow runs already with fewer CPU
            devices.
    """
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=tensorflow before Keras "
            "is imported"
        )
    gpus = len(tf.config.list_physical_devices("GPU"))
    kind = "GPU" if gpus else "CPU"
    count = replicas or gpus or 1
    if gpus and count > gpus:
        raise InputError(f"--replicas {count}: this machine has {gpus} GPU(s)")
    if not gpus:
        _make_logical_cpus(count)
    log.info("devices: %d %s", count, kind)
    if count == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(f"{kind}:{number}" for number in range(count)))


@functools.cache
def _mirrored(devices):
    """One strategy for all runs of a process: two over the same devices would number their
    collective operations alike, and TensorFlow would take the one's for the other's."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def _make_logical_cpus(count):
    import tensorflow as tf

    if count == 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        configured = tf.config.get_logical_device_configuration(cpu) or []
        if len(configured) < count:
            devices = [tf.config.LogicalDeviceConfiguration()] * count
            tf.config.set_logical_device_configuration(cpu, devices)
    except RuntimeError as error:
        raise InputError(
            f"--replicas {count}: TensorFlow runs already with fewer CPU devices in this process; "
            "start a new one"
        ) from error

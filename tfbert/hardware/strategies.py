"""Picks the devices to train on."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfbert.errors import InputError, first_line
from tfbert.hardware import surroundings

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger("tfbert")


def get_strategy(strategy: str = "auto", replicas: int | None = None) -> tf.distribute.Strategy:
    """A `tf.distribute` strategy over what the machine has, and a log line that names it.

    Several workers must be joined before Keras is imported: call it first.

    Args:
        strategy: `cpu` or `mirrored` (the GPUs of this machine; without any, logical devices of
            the CPU, which share its cores: enough to try out training on several devices);
            `multi_worker` (the machines that the environment variable TF_CONFIG names); `tpu`
            (the TPU that TPU_NAME names, else the machine's own); `auto` takes the workers of
            TF_CONFIG, a TPU, all GPUs, or one CPU, whichever comes first.
        replicas: Number of devices of this machine; None takes every GPU, else one CPU.

    Returns:
        TensorFlow's default strategy for one device, else a `MirroredStrategy`,
        `MultiWorkerMirroredStrategy` or `TPUStrategy`; the same one when called again.

    Raises:
        InputError: If the machine does not have what is asked for, or TensorFlow runs already with
            other devices.
    """
    made = find_strategy(strategy, replicas)
    if strategy == "auto":
        strategy = _best_strategy()
    count = made.num_replicas_in_sync
    kind = "TPU" if strategy == "tpu" else "GPU" if strategy != "cpu" and _gpus() else "CPU"
    if is_chief(made):  # the others would say the same
        log.info("devices: %d %s (%s)", count, kind, type(made).__name__ if count > 1 else "one")
        if kind == "CPU" and strategy != "cpu" and _has_idle_gpu():
            log.warning(
                "there is an NVIDIA GPU, and TensorFlow does not find it: is the package installed "
                "with CUDA (tfbert[cuda]), and the driver recent enough? TF_CPP_MIN_LOG_LEVEL=0 "
                "shows what TensorFlow says"
            )
    return made


def find_strategy(strategy: str, replicas: int | None) -> tf.distribute.Strategy:
    """`get_strategy` without the log line."""
    if strategy not in _MAKERS and strategy != "auto":
        raise InputError(f"--strategy {strategy}: must be one of auto, {', '.join(_MAKERS)}")
    if replicas is not None and replicas < 1:
        raise InputError(f"--replicas is {replicas}: it must be at least 1")
    if strategy == "auto":
        strategy = _best_strategy()
    # Before Keras is asked anything: its import starts TensorFlow's devices.
    made = _MAKERS[strategy](replicas)
    check_backend()
    return made


def _has_idle_gpu() -> bool:
    """Whether there is an NVIDIA driver, and nobody has hidden the GPUs."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return os.path.exists(surroundings.NVIDIA_DRIVER) and not hidden


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one of all workers that writes files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker":
        cluster = resolver.cluster_spec().as_dict()
        return resolver.task_id == 0 and "chief" not in cluster
    return resolver.task_type == "chief"


def _best_strategy() -> str:
    if _workers() > 1:
        return "multi_worker"
    has_tpu = os.environ.get("PJRT_DEVICE") == "TPU" or "TPU_NAME" in os.environ
    return "tpu" if has_tpu else "mirrored"


def _workers() -> int:
    """How many workers TF_CONFIG names; 0 without it."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        return sum(len(cluster.get(kind, [])) for kind in ("chief", "worker"))
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"TF_CONFIG: cannot be read as JSON of a cluster: {error}") from error


def check_backend() -> None:
    """Raises InputError if Keras runs on something else than TensorFlow."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=tensorflow before Keras "
            "is imported"
        )


def _gpus() -> int:
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def _cpu(replicas: int | None) -> tf.distribute.Strategy:
    import tensorflow as tf

    count = replicas or 1
    _make_logical_cpus(count)
    if count > 1 or _gpus():
        return _mirrored(tuple(f"CPU:{number}" for number in range(count)))
    return tf.distribute.get_strategy()


def _this_machine(replicas: int | None) -> tf.distribute.Strategy:
    import tensorflow as tf

    gpus = _gpus()
    if not gpus:
        return _cpu(replicas)
    count = replicas or gpus
    if count > gpus:
        raise InputError(f"--replicas {count}: this machine has {gpus} GPU(s)")
    if count == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(f"GPU:{number}" for number in range(count)))


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One strategy for all runs of a process: two over the same devices would number their
    collective operations alike, and TensorFlow would mix them up."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker(replicas: int | None) -> tf.distribute.Strategy:
    import tensorflow as tf

    if _workers() < 2:
        raise InputError(
            "--strategy multi_worker: TF_CONFIG names no workers; `tfbert launch` starts several "
            "on this machine"
        )
    if replicas and not _gpus():
        _make_logical_cpus(replicas)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        hint = " (Keras is imported already)" if "keras" in sys.modules else ""
        raise InputError(
            "--strategy multi_worker: TensorFlow's devices have started already: call "
            f"get_strategy before Keras is imported{hint}"
        ) from error
    except ValueError as error:
        raise InputError(f"TF_CONFIG: {error}") from error


@functools.cache
def _tpu(replicas: int | None) -> tf.distribute.Strategy:
    import tensorflow as tf

    if replicas:
        raise InputError("--replicas: a TPU is used with all its cores; leave it out")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=os.environ.get("TPU_NAME", "local")
        )
        if resolver.master():
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"--strategy tpu: no TPU can be reached: {first_line(error)}") from error
    return tf.distribute.TPUStrategy(resolver)


_MAKERS: dict[str, Callable[[int | None], tf.distribute.Strategy]] = {
    "cpu": _cpu,
    "mirrored": _this_machine,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
}


def _make_logical_cpus(count: int) -> None:
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


def replica_devices(strategy: tf.distribute.Strategy) -> list[str]:
    """The names of the devices that this worker's replicas run on."""
    import tensorflow as tf

    try:
        return strategy.extended.worker_devices
    except RuntimeError:  # TensorFlow's default strategy takes a GPU where there is one
        gpus = tf.config.list_logical_devices("GPU")
        return [(gpus or tf.config.list_logical_devices("CPU"))[0].name]


def is_only_worker(strategy: tf.distribute.Strategy) -> bool:
    """Whether no other process takes part in the training."""
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    cluster = strategy.cluster_resolver.cluster_spec()
    return sum(cluster.num_tasks(job) for job in ("chief", "worker") if job in cluster.jobs) <= 1


def sum_over_workers(strategy: tf.distribute.Strategy, value: int) -> int:
    """The sum of a whole number over all workers; each of them must call this."""
    import tensorflow as tf

    if is_only_worker(strategy):
        return value
    results = _sum_over_replicas(strategy)(tf.constant(value))
    return int(results[0]) // len(results)  # a worker counts once for each of its replicas


@functools.cache
def _sum_over_replicas(strategy: tf.distribute.Strategy) -> Callable[[Any], Any]:
    """A function, traced once, of this worker's scalar; it returns the sum on each replica."""
    import tensorflow as tf

    def of_replica(value: tf.Tensor) -> tf.Tensor:
        # Made outside of strategy.run, it has no device here before it is copied.
        return tf.distribute.get_replica_context().all_reduce("sum", tf.identity(value))

    @tf.function(autograph=False)
    def total(value: tf.Tensor) -> Any:
        return strategy.experimental_local_results(strategy.run(of_replica, args=(value,)))

    return total

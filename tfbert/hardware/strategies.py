"""Picks the devices to train on."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tfbert.errors import InputError, first_line
from tfbert.hardware import jax_devices, surroundings

if TYPE_CHECKING:
    import tensorflow as tf

    # What models are made and trained in. The two have in common `scope` and
    # `num_replicas_in_sync`; what else is asked of them stands here.
    Strategy: TypeAlias = tf.distribute.Strategy | jax_devices.JaxDevices

log = logging.getLogger("tfbert")


def get_strategy(strategy: str = "auto", replicas: int | None = None) -> Strategy:
    """The devices that the machine has, and a log line that names them.

    Under TensorFlow they are a `tf.distribute` strategy, under JAX `JaxDevices`: models that are
    made in `scope()` train on all of them.

    Several workers must be joined before Keras is imported: call it first.

    Args:
        strategy: `cpu` or `mirrored` (the GPUs of this machine; without any, logical devices of
            the CPU, which share its cores: enough to try out training on several devices);
            `multi_worker` (the machines that the environment variable TF_CONFIG names, under JAX as
            well); `tpu` (the TPU that TPU_NAME names, else the machine's own); `auto` takes the
            workers of TF_CONFIG, a TPU, all GPUs, or one CPU, whichever comes first.
        replicas: Number of devices of this machine; None takes every GPU, else one CPU.

    Returns:
        TensorFlow's default strategy for one device, else a `MirroredStrategy`,
        `MultiWorkerMirroredStrategy` or `TPUStrategy`; under JAX `JaxDevices`. The same one when
        called again.

    Raises:
        InputError: If the machine does not have what is asked for, or the backend runs already
            with other devices.
    """
    made = find_strategy(strategy, replicas)
    if strategy == "auto":
        strategy = _best_strategy()
    count, kind = made.num_replicas_in_sync, _kind(made, strategy)
    if is_chief(made):  # the others would say the same
        log.info("devices: %d %s (%s)", count, kind, type(made).__name__ if count > 1 else "one")
        if kind == "CPU" and strategy != "cpu" and _has_idle_gpu():
            is_jax = backend() == "jax"
            log.warning(
                "there is an NVIDIA GPU, and %s does not find it: is the package installed with "
                "CUDA (%s), and the driver recent enough? TF_CPP_MIN_LOG_LEVEL=0 shows what it "
                "says",
                "JAX" if is_jax else "TensorFlow",
                "jax[cuda12]" if is_jax else "tfbert[cuda]",
            )
    return made


def find_strategy(strategy: str, replicas: int | None) -> Strategy:
    """`get_strategy` without the log line."""
    makers = _JAX_MAKERS if backend() == "jax" else _MAKERS
    if strategy not in makers and strategy != "auto":
        raise InputError(f"--strategy {strategy}: must be one of auto, {', '.join(makers)}")
    if replicas is not None and replicas < 1:
        raise InputError(f"--replicas is {replicas}: it must be at least 1")
    if backend() == "jax":
        jax_devices.prepare(replicas)
    if strategy == "auto":
        strategy = _best_strategy()
    # Before Keras is asked anything: its import starts TensorFlow's devices.
    made = makers[strategy](replicas)
    check_backend()
    return made


def _kind(made: Strategy, strategy: str) -> str:
    """CPU, GPU or TPU."""
    if isinstance(made, jax_devices.JaxDevices):
        return made.platform.upper()
    return "TPU" if strategy == "tpu" else "GPU" if strategy != "cpu" and _gpus() else "CPU"


def _has_idle_gpu() -> bool:
    """Whether there is an NVIDIA driver, and nobody has hidden the GPUs."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return os.path.exists(surroundings.NVIDIA_DRIVER) and not hidden


def is_chief(strategy: Strategy) -> bool:
    """Whether this process is the one of all workers that writes files."""
    if isinstance(strategy, jax_devices.JaxDevices):
        return strategy.devices[0].process_index == strategy.local_devices[0].process_index
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker":
        cluster = resolver.cluster_spec().as_dict()
        return resolver.task_id == 0 and "chief" not in cluster
    return resolver.task_type == "chief"


def _best_strategy() -> str:
    if len(_workers()) > 1:
        return "multi_worker"
    if backend() == "jax":
        import jax

        return "tpu" if jax.default_backend() == "tpu" else "mirrored"
    has_tpu = os.environ.get("PJRT_DEVICE") == "TPU" or "TPU_NAME" in os.environ
    return "tpu" if has_tpu else "mirrored"


def _workers() -> list[str]:
    """The addresses of the workers that TF_CONFIG names; empty without it."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        return [address for kind in ("chief", "worker") for address in cluster.get(kind, [])]
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"TF_CONFIG: cannot be read as JSON of a cluster: {error}") from error


def _check_workers() -> None:
    """Raises InputError where there is nothing to join."""
    if len(_workers()) < 2:
        raise InputError(
            "--strategy multi_worker: TF_CONFIG names no workers; `tfbert launch` starts several "
            "on this machine"
        )


def _jax_processes(replicas: int | None) -> jax_devices.JaxDevices:
    """The workers of TF_CONFIG, as JAX joins them."""
    _check_workers()
    task = json.loads(os.environ["TF_CONFIG"]).get("task", {})
    number = task.get("index", 0)
    if task.get("type") == "worker":  # counted after the chief, if there is one
        number += len(json.loads(os.environ["TF_CONFIG"])["cluster"].get("chief", []))
    return jax_devices.several_processes(_workers(), number)


def backend() -> str:
    """What Keras runs on, or will run on."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def is_tpu(strategy: Strategy) -> bool:
    """Whether the replicas are cores of a TPU."""
    if isinstance(strategy, jax_devices.JaxDevices):
        return strategy.is_tpu
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.TPUStrategy)


def has_one_shape(strategy: Strategy) -> bool:
    """Whether every batch must have one shape: on a TPU under TensorFlow. JAX compiles for each."""
    return backend() != "jax" and is_tpu(strategy)


def current_strategy() -> Strategy | None:
    """The strategy of the innermost `scope()`, or None outside of any."""
    if backend() == "jax":
        return jax_devices.current()
    import tensorflow as tf

    return tf.distribute.get_strategy() if tf.distribute.has_strategy() else None


def check_backend() -> None:
    """Raises InputError if Keras runs on something else than TensorFlow or JAX."""
    if backend() not in ("tensorflow", "jax"):
        raise InputError(
            f"Keras runs on {backend()}: set KERAS_BACKEND to tensorflow or jax before Keras "
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

    _check_workers()
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
_JAX_MAKERS: dict[str, Callable[[int | None], jax_devices.JaxDevices]] = {
    "cpu": jax_devices.cpus,
    "mirrored": jax_devices.this_machine,
    "multi_worker": _jax_processes,
    "tpu": jax_devices.tpu,
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


def replica_devices(strategy: Strategy) -> list[str]:
    """The names of the devices that this worker's replicas run on, such as `GPU:0`."""
    if isinstance(strategy, jax_devices.JaxDevices):
        return [f"{device.platform.upper()}:{device.id}" for device in strategy.local_devices]
    import tensorflow as tf

    try:
        return strategy.extended.worker_devices
    except RuntimeError:  # TensorFlow's default strategy takes a GPU where there is one
        gpus = tf.config.list_logical_devices("GPU")
        return [(gpus or tf.config.list_logical_devices("CPU"))[0].name]


def is_only_worker(strategy: Strategy) -> bool:
    """Whether no other process takes part in the training."""
    if isinstance(strategy, jax_devices.JaxDevices):
        return strategy.processes == 1
    import tensorflow as tf

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    cluster = strategy.cluster_resolver.cluster_spec()
    return sum(cluster.num_tasks(job) for job in ("chief", "worker") if job in cluster.jobs) <= 1


def sum_over_workers(strategy: Strategy, value: int) -> int:
    """The sum of a whole number over all workers; each of them must call this."""
    if is_only_worker(strategy):
        return value
    if isinstance(strategy, jax_devices.JaxDevices):
        return strategy.sum_over_processes(value)
    import tensorflow as tf

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

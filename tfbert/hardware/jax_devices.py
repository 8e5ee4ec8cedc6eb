"""The devices of Keras' JAX backend, in the place of a `tf.distribute` strategy."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbert.errors import InputError, first_line

if TYPE_CHECKING:
    import jax

log = logging.getLogger("tfbert")

# The axis of the mesh, along which a batch is divided.
AXIS = "replica"

_scopes: list[JaxDevices] = []


class JaxDevices:
    """Devices that train together: each has all weights, and its part of every batch.

    Args:
        devices: `jax.Device`s of one kind; those of all processes, if there are several.
    """

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        import jax
        from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

        self.devices = list(devices)
        self.mesh = jax.sharding.Mesh(np.array(self.devices), (AXIS,))
        self.local_devices = [d for d in devices if d.process_index == jax.process_index()]
        # Where weights are: on every device.
        self.replicated: jax.sharding.Sharding = NamedSharding(self.mesh, PartitionSpec())
        if len(self.devices) == 1:
            self.replicated = SingleDeviceSharding(self.devices[0])

    @property
    def num_replicas_in_sync(self) -> int:
        """Number of devices, of all processes."""
        return len(self.devices)

    @property
    def platform(self) -> str:
        """`cpu`, `gpu` or `tpu`."""
        return self.devices[0].platform

    @property
    def is_tpu(self) -> bool:
        """Whether the devices are a TPU's cores."""
        return self.platform == "tpu"

    @property
    def processes(self) -> int:
        """How many processes the devices belong to."""
        return len({device.process_index for device in self.devices})

    @contextlib.contextmanager
    def scope(self) -> Iterator[JaxDevices]:
        """Models that are made inside of it train on these devices."""
        _scopes.append(self)
        try:
            yield self
        finally:
            _scopes.pop()

    def sum_over_processes(self, value: int) -> int:
        """The sum of a whole number over all processes; each of them must call this."""
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.asarray(value)).sum())


def current() -> JaxDevices | None:
    """The devices of the innermost scope, or None."""
    return _scopes[-1] if _scopes else None


@functools.cache
def one_device() -> JaxDevices:
    """JAX's default device alone: what a model outside of any scope trains on."""
    import jax

    return JaxDevices(jax.local_devices()[:1])


def prepare(replicas: int | None) -> None:
    """What has to be done before JAX is asked for its devices: it then starts them.

    Args:
        replicas: Devices that the CPU is to have, in each process.
    """
    import jax

    if replicas:
        with contextlib.suppress(RuntimeError):  # JAX runs already, perhaps with as many
            jax.config.update("jax_num_cpu_devices", replicas)
    # A slice of a TPU has a process on each host; JAX finds the others by the TPU's own metadata.
    if "," in os.environ.get("TPU_WORKER_HOSTNAMES", "") and not jax.distributed.is_initialized():
        jax.distributed.initialize()


def cpus(replicas: int | None) -> JaxDevices:
    """Devices of the CPU, which share its cores.

    Raises:
        InputError: If JAX runs already with fewer.
    """
    import jax

    count = replicas or 1
    devices = jax.local_devices(backend="cpu")
    if len(devices) < count:
        raise InputError(
            f"--replicas {count}: JAX runs already with {len(devices)} CPU device(s) in this "
            "process; start a new one"
        )
    return _made(tuple(devices[:count]))


def this_machine(replicas: int | None) -> JaxDevices:
    """The accelerators of this machine, or without any devices of its CPU.

    Raises:
        InputError: If there are fewer than `replicas`.
    """
    devices = _accelerators()
    if not devices:
        return cpus(replicas)
    if replicas and replicas > len(devices):
        raise InputError(f"--replicas {replicas}: this machine has {len(devices)} device(s)")
    return _made(tuple(devices[: replicas or len(devices)]))


def several_processes(addresses: Sequence[str], number: int) -> JaxDevices:
    """The devices of several processes, each of which calls this.

    Args:
        addresses: `host:port` of each process. The first one's is where they meet.
        number: Of this process among them.

    Raises:
        InputError: If the processes do not meet.
    """
    import jax

    if not jax.distributed.is_initialized():
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        try:
            jax.distributed.initialize(addresses[0], len(addresses), number)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"--strategy multi_worker: {addresses[0]}: the {len(addresses)} processes do not "
                f"meet there: {first_line(error)}"
            ) from error
    return _made(tuple(jax.devices()))


def tpu(replicas: int | None) -> JaxDevices:
    """All cores of the TPU, of every host of its slice.

    Raises:
        InputError: If there is none.
    """
    import jax

    if replicas:
        raise InputError("--replicas: a TPU is used with all its cores; leave it out")

    try:
        return _made(tuple(jax.devices("tpu")))
    except RuntimeError as error:
        raise InputError(f"--strategy tpu: no TPU can be reached: {first_line(error)}") from error


def has_tpu() -> bool:
    """Whether JAX finds a TPU on this machine."""
    import jax

    return any(device.platform == "tpu" for device in jax.local_devices())


def gpu_capabilities() -> list[tuple[int, int]]:
    """(major, minor) compute capability of this machine's GPUs; (0, 0) of others than NVIDIA's."""
    import jax

    versions = [
        re.fullmatch(r"(\d+)\.(\d+)", str(getattr(device, "compute_capability", "")))
        for device in jax.local_devices()
        if device.platform == "gpu"
    ]
    return [(int(v[1]), int(v[2])) if v else (0, 0) for v in versions]


def _accelerators() -> list[Any]:
    import jax

    return [device for device in jax.local_devices() if device.platform != "cpu"]


@functools.cache
def _made(devices: tuple[Any, ...]) -> JaxDevices:
    return JaxDevices(devices)

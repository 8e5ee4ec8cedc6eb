"""A TPUStrategy that is one core of many, for XLA to lower what this core computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.distribute import distribute_lib, one_device_strategy


class OneCoreStrategy(tf.distribute.TPUStrategy):
    """Runs a step as one of `cores` replicas, inside a `tf.function(jit_compile=True)`.

    A real TPUStrategy wraps the step into `tpu.replicate`, which TensorFlow itself takes apart on
    the machine of a TPU. Here the step stands alone, so that XLA can lower it anywhere. Sums over
    replicas become XLA's all-reduce, as on a TPU; the replica's number is asked of the device.
    All code that tests for a TPUStrategy does here what it does on a TPU.
    """

    def __init__(self, cores: int) -> None:
        distribute_lib.Strategy.__init__(self, _OneCoreExtended(self, cores))

    def run(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        options: Any = None,
    ) -> Any:
        """Calls `fn` in the context of the one replica."""
        return self.extended.call_for_each_replica(fn, args=args, kwargs=kwargs or {})


class _OneCoreExtended(one_device_strategy.OneDeviceExtended):
    def __init__(self, strategy: OneCoreStrategy, cores: int) -> None:
        super().__init__(strategy, "/cpu:0")
        self._cores = cores

    @property
    def _num_replicas_in_sync(self) -> int:
        return self._cores

    def _call_for_each_replica(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        with _OneCoreContext(self._container_strategy()):
            return fn(*args, **kwargs)

    def _reduce_to(
        self, reduce_op: tf.distribute.ReduceOp, value: tf.Tensor, destinations: Any, options: Any
    ) -> tf.Tensor:
        # One that a real TPUStrategy sums by CrossReplicaSum, which only a TPU can lower.
        if reduce_op == tf.distribute.ReduceOp.MEAN:
            value = value / self._cores
        return gen_xla_ops.xla_all_reduce(
            input=value,
            group_assignment=tf.constant([list(range(self._cores))], tf.int32),
            reduce_op="Add",
            mode="CrossReplica",
        )


class _OneCoreContext(distribute_lib.ReplicaContext):
    def __init__(self, strategy: OneCoreStrategy) -> None:
        super().__init__(strategy, replica_id_in_sync_group=gen_xla_ops.xla_replica_id())

    @property
    def devices(self) -> Any:
        return self._strategy.extended.worker_devices

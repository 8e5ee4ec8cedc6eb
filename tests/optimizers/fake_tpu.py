"""Traces updates in the real TPUStrategy, whose two cores are logical CPU devices.

`strategy.run` builds the graph of tpu.replicate, so that whatever TPUStrategy refuses in
Python shows up; nothing is executed. A process of its own: it changes TensorFlow's devices.
"""

import collections
import json
import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from optimizer_table import random_arrays, variables_of
from tensorflow.python.distribute import tpu_strategy
from tensorflow.python.tpu import tpu_system_metadata

import tfbert

CORES = 2
HOST = "/job:localhost/replica:0/task:0/device:"


class FakeResolver(tf.distribute.cluster_resolver.TPUClusterResolver):
    """Two cores on this machine."""

    tpu_hardware_feature = None

    def __init__(self):
        pass

    def get_tpu_system_metadata(self):
        devices = [collections.namedtuple("Device", "name")(f"{HOST}TPU:{k}") for k in range(CORES)]
        return tpu_system_metadata.TPUSystemMetadata(CORES, 1, CORES, None, devices)

    def master(self):
        return ""


class FakeExtended(tpu_strategy.TPUExtended):
    """The cores are CPU:1 and CPU:2, the host is CPU:0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        cores = [f"{HOST}CPU:{k + 1}" for k in range(CORES)]
        self._tpu_devices = np.array([[core] for core in cores], dtype=object)
        self._host_device = f"{HOST}CPU:0"
        self._device_input_worker_devices = {self._host_device: cores}
        self._host_input_worker_devices = {self._host_device: [self._host_device] * CORES}


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * (CORES + 1)
    )
    tpu_strategy.TPUExtended = FakeExtended
    strategy = tf.distribute.TPUStrategy(FakeResolver())
    everything = {
        "max_grad_norm": 1.0,
        "record_statistics": True,
        "use_ema": True,
        "ema_overwrite_frequency": 2,
        "gradient_accumulation_steps": 2,
    }
    optimizers = {
        "lamb": lambda: tfbert.LAMB(),
        "lamb with everything": lambda: tfbert.LAMB(**everything),
        "lars": lambda: tfbert.LARS(),
        "loss scale": lambda: tfbert.LossScaleOptimizer(tfbert.LAMB(max_grad_norm=1.0)),
        "loss scale of keras": lambda: tfbert.LossScaleOptimizer(keras.optimizers.Adam()),
    }
    print(json.dumps({name: trace(strategy, make) for name, make in optimizers.items()}))


def trace(strategy, optimizer_of):
    with strategy.scope():
        variables = list(variables_of(random_arrays(0)).values())
        optimizer = optimizer_of()
        optimizer.build(variables)

    @tf.function
    def update():
        def on_replica():
            # The first is sparse, as an embedding's gradient is.
            rows = tf.IndexedSlices(tf.ones((2, 3)), tf.constant([1, 1]), tf.constant([4, 3]))
            gradients = [rows, *(tf.ones(v.shape) for v in variables[1:])]
            optimizer.apply(gradients, variables)

        strategy.run(on_replica)

    operations = update.get_concrete_function().graph.get_operations()
    types = collections.Counter(operation.type for operation in operations)
    return {"replicated": types["TPUReplicateMetadata"], "sums": types["CrossReplicaSum"]}


if __name__ == "__main__":
    main()

"""A real TPUStrategy whose two cores are logical CPU devices: it traces, and cannot execute.

`strategy.run` builds the graph of tpu.replicate, so that whatever TPUStrategy refuses in Python
shows up.
"""

import collections
import unittest.mock

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute import tpu_strategy
from tensorflow.python.tpu import tpu_system_metadata

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
    """The cores are CPU:0 and CPU:1, the host is CPU:0 too."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        cores = [f"{HOST}CPU:{k}" for k in range(CORES)]
        self._tpu_devices = np.array([[core] for core in cores], dtype=object)
        self._host_device = f"{HOST}CPU:0"
        self._device_input_worker_devices = {self._host_device: cores}
        self._host_input_worker_devices = {self._host_device: [self._host_device] * CORES}


def strategy_of_two_devices():
    """A `tf.distribute.TPUStrategy` over the two logical CPU devices of the test process."""
    with unittest.mock.patch.object(tpu_strategy, "TPUExtended", FakeExtended):
        return tf.distribute.TPUStrategy(FakeResolver())


def count_operations(graph, *types):
    """{type: number of operations} of a graph and the functions that it calls."""
    counts = collections.Counter(operation.type for operation in graph.get_operations())
    for function in graph.as_graph_def().library.function:
        counts.update(node.op for node in function.node_def)
    return {name: counts[name] for name in types}

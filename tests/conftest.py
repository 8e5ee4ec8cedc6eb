"""Shared set-up: two logical CPU devices for every test process, and the fixtures that use them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest


@pytest.fixture(scope="session")
def two_replicas():
    """A MirroredStrategy over two logical CPU devices; slow to build, so one a session."""
    import tensorflow as tf

    from tests.devices import make_two_cpu_devices

    make_two_cpu_devices()
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

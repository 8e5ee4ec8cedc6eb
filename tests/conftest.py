"""Shared set-up: no GPU, and two logical CPU devices, which TensorFlow must hear of before use."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest

pytest_plugins = ["helpers.text_fixtures", "helpers.training_fixtures"]


@pytest.fixture(scope="session", autouse=True)
def two_cpu_devices():
    """Every test process that uses TensorFlow sees CPU:0 and CPU:1."""
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def two_replicas(two_cpu_devices):
    """A MirroredStrategy over two logical CPU devices, the one that the package would make."""
    from tfbert.hardware.strategies import get_strategy

    return get_strategy(replicas=2)


@pytest.fixture
def object_store(monkeypatch):
    """A stand-in for gs:// in this process: an empty `ObjectStore`."""
    from helpers.object_store import ObjectStore

    store = ObjectStore()
    monkeypatch.setattr("tfbert.io.object_store.gfile", lambda: store)
    return store


@pytest.fixture(params=["local", "gs"])
def place(request, tmp_path):
    """A folder on a local disk, and one in a stand-in for gs://."""
    if request.param == "local":
        return tmp_path
    from tfbert.io.paths import as_path

    request.getfixturevalue("object_store")
    return as_path("gs://bucket/place")

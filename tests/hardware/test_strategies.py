import keras
import pytest
import tensorflow as tf

from tfbert.errors import InputError
from tfbert.hardware import strategies, surroundings
from tfbert.hardware.strategies import find_strategy, get_strategy, sum_over_workers


def test_one_device_is_the_default_strategy(caplog):
    with caplog.at_level("INFO", "tfbert"):
        assert get_strategy() is tf.distribute.get_strategy()
    assert "devices: 1 CPU (one)" in caplog.text


@pytest.mark.parametrize(("visible", "told"), [(None, True), ("0", True), ("-1", False)])
def test_a_gpu_that_tensorflow_does_not_find_is_told(monkeypatch, caplog, visible, told):
    monkeypatch.setattr(surroundings, "NVIDIA_DRIVER", __file__)
    monkeypatch.setattr(strategies, "_gpus", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    get_strategy("cpu")
    assert "NVIDIA" not in caplog.text
    get_strategy()
    assert ("there is an NVIDIA GPU" in caplog.text) == told


def test_it_can_be_found_without_a_word(caplog):
    with caplog.at_level("INFO", "tfbert"):
        assert find_strategy("auto", 2) is get_strategy(replicas=2)
    assert caplog.text.count("devices:") == 1
    with pytest.raises(InputError, match="--strategy gpu: must be one of auto"):
        find_strategy("gpu", None)


def test_two_logical_cpus():
    strategy = get_strategy(replicas=2)
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 2


def test_too_many_are_refused(monkeypatch):
    tf.zeros(1)  # from here on the devices are fixed
    with pytest.raises(InputError, match="--replicas 3: TensorFlow runs already with fewer"):
        get_strategy(replicas=3)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"])
    with pytest.raises(InputError, match=r"--replicas 2: this machine has 1 GPU\(s\)"):
        get_strategy(replicas=2)


def test_another_keras_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InputError, match="Keras runs on torch: set KERAS_BACKEND to tensorflow or"):
        get_strategy()


def test_the_sum_over_workers_is_traced_once(two_replicas, monkeypatch):
    """Two replicas of one worker stand for two workers: each is counted once."""
    monkeypatch.setattr(strategies, "is_only_worker", lambda strategy: False)
    assert [sum_over_workers(two_replicas, value) for value in (3, 0, 70_000)] == [3, 0, 70_000]
    function = strategies._sum_over_replicas(two_replicas)
    assert function.experimental_get_tracing_count() == 1

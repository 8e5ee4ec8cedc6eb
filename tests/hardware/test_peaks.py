import tensorflow as tf

from tfbert.hardware import peaks


def test_logical_devices_of_a_cpu_are_one(two_replicas, monkeypatch):
    monkeypatch.setattr(peaks, "matmul_peak", lambda dtype, device: 1e9)
    assert peaks.strategy_matmul_peak(two_replicas, "float32") == 1e9
    assert peaks.strategy_matmul_peak(tf.distribute.get_strategy(), "float32") == 1e9

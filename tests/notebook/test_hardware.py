from tfbert.notebook import hardware


def test_this_machine_is_described():
    text = hardware.describe_hardware()
    for word in ("GPU", "CPU", "memory", "precision", "TensorFlow"):
        assert word in text
    assert not hardware.has_accelerator()


def test_a_tpu_runtime_is_told_from_others(tmp_path):
    assert not hardware.is_tpu_runtime({"COLAB_RELEASE_TAG": "x", "TPU_NAME": "local"}, tmp_path)
    assert hardware.is_tpu_runtime({"COLAB_TPU_ADDR": "10.0.0.1:8470"}, tmp_path)
    assert hardware.is_tpu_runtime({"TPU_ACCELERATOR_TYPE": "v5litepod-1"}, tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "accel0").touch()
    assert hardware.is_tpu_runtime({"KAGGLE_KERNEL_RUN_TYPE": "x"}, tmp_path)
    assert not hardware.is_tpu_runtime({}, tmp_path)

import pytest

from tfbert.errors import InputError
from tfbert.hardware import precision
from tfbert.hardware.precision import choose_precision, precision_for_cpu, precision_for_gpu


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((6, 1), "float32"),  # Pascal
        ((7, 0), "float16"),  # V100
        ((7, 5), "float16"),  # T4
        ((8, 0), "bfloat16"),  # A100
        ((9, 0), "bfloat16"),  # H100
        ((12, 0), "bfloat16"),
    ],
)
def test_gpus_by_compute_capability(capability, expected):
    assert precision_for_gpu(capability) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["sse2", "avx512f"], "float32"),
        (["avx512f", "avx512_bf16"], "bfloat16"),
        (["amx_bf16"], "bfloat16"),
        ([], "float32"),
    ],
)
def test_cpus_by_their_flags(flags, expected):
    assert precision_for_cpu(flags)[0] == expected


def test_auto_logs_its_reason_and_a_request_is_obeyed(monkeypatch, caplog):
    monkeypatch.setattr(precision, "cpu_info", {"flags": "sse avx512_bf16"}.get)
    with caplog.at_level("INFO", "tfbert"):
        assert choose_precision("auto") == "bfloat16"
    assert "precision: bfloat16 (CPU with avx512_bf16)" in caplog.text
    assert choose_precision("float32") == "float32"


def test_the_oldest_gpu_decides(monkeypatch):
    import tensorflow as tf

    capabilities = {"new": (9, 0), "old": (7, 5)}
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: list(capabilities) * (kind == "GPU")
    )
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": capabilities[gpu]},
    )
    assert choose_precision("auto") == "float16"


def test_a_tpu_takes_bfloat16_and_refuses_float16(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * (kind == "TPU"))
    assert choose_precision("auto") == "bfloat16"
    assert choose_precision("float32") == "float32"
    with pytest.raises(InputError, match="--precision float16: TPUs compute in bfloat16"):
        choose_precision("float16")

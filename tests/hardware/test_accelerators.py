import pytest

from tfbert.errors import InputError
from tfbert.hardware.accelerators import parse_accelerator


# Chips and hosts after Google's tables of configurations, generation by generation.
@pytest.mark.parametrize(
    ("name", "chips", "hosts"),
    [
        ("v2-8", 4, 1),
        ("v3-8", 4, 1),
        ("v3-32", 16, 4),
        ("v3-2048", 1024, 256),
        ("v4-8", 4, 1),
        ("v4-16", 8, 2),
        ("v5p-8", 4, 1),
        ("v5litepod-1", 1, 1),
        ("v5litepod-8", 8, 1),
        ("v5litepod-16", 16, 4),
        ("v6e-8", 8, 1),
        ("v6e-256", 256, 64),
    ],
)
def test_what_a_name_stands_for(name, chips, hosts):
    accelerator = parse_accelerator(name)
    assert (accelerator.chips, accelerator.hosts) == (chips, hosts)


@pytest.mark.parametrize("name", ["v1-8", "tpu7x-8", "v2", "v2-7", "v3-0", "v5litepod-10", "gpu"])
def test_what_there_is_not(name):
    with pytest.raises(InputError, match=f"--accelerator-type {name}: "):
        parse_accelerator(name)


def test_a_pod_slice_needs_the_image_with_servers():
    assert parse_accelerator("v3-8").runtime_version == "tpu-ubuntu2204-base"
    assert parse_accelerator("v3-32").runtime_version == "tpu-vm-tf-2.19.1-pod-pjrt"


def test_the_price_grows_with_the_chips():
    one, sixteen = map(parse_accelerator, ("v5litepod-1", "v5litepod-16"))
    assert sixteen.price_per_hour == pytest.approx(16 * one.price_per_hour)

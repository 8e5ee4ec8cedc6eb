"""Names of hardware."""

import pytest

from tfbert.errors import InputError
from tfbert.hardware.tpu_slices import GIB
from tfbert.planning.devices import parse_hardware


# Peaks and memory after the makers' data sheets: dense products in 16 bits.
@pytest.mark.parametrize(
    ("name", "count", "teraflops", "gigabytes"),
    [
        ("1xT4", 1, 65, 16),
        ("T4", 1, 65, 16),
        ("8xA100-80GB", 8, 312, 80),
        ("4xa100", 4, 312, 40),
        ("2xV100-32GB", 2, 125, 32),
        ("v3-2048", 2_048, 123 / 2, 16),
        ("v5litepod-4", 4, 197, 16),
    ],
)
def test_what_a_name_stands_for(name, count, teraflops, gigabytes):
    found = parse_hardware(name)
    assert found.count == count
    assert max(found.device.peaks.values()) == pytest.approx(teraflops * 1e12)
    assert 0.85 * gigabytes * GIB < found.device.memory <= gigabytes * GIB


def test_this_machine_is_measured():
    found = parse_hardware("cpu")
    assert found.count == 1
    assert 1e9 < found.device.peaks["float32"] < 1e14


@pytest.mark.parametrize("name", ["8x", "0xT4", "8xA1000", "xT4", "v9-8", "gpu", "8 A100", ""])
def test_what_is_not_known_is_refused_with_what_is(name):
    with pytest.raises(InputError, match=r"is not known; it is cpu .*, .*T4, .*v3"):
        parse_hardware(name)


def test_a_slice_that_does_not_exist():
    with pytest.raises(InputError, match="--hardware v3-7: there is no slice"):
        parse_hardware("v3-7")

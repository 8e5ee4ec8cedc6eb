import pytest

from tfbert.errors import InputError
from tfbert.hardware.accelerators import GENERATIONS
from tfbert.hardware.tpu_slices import CORES, find_slice


# Topologies and cores after Google's tables of configurations, generation by generation.
@pytest.mark.parametrize(
    ("name", "topology", "cores"),
    [
        ("v2-8", "v2:2x2", 8),
        ("v3-8", "v3:2x2", 8),
        ("v3-32", "v3:4x4", 32),
        ("v3-256", "v3:8x16", 256),
        ("v3-2048", "v3:32x32", 2_048),
        ("v4-8", "v4:2x2x1", 8),
        ("v4-16", "v4:2x2x2", 16),
        ("v4-32", "v4:2x2x4", 32),
        ("v4-64", "v4:2x4x4", 64),
        ("v4-128", "v4:4x4x4", 128),
        ("v5litepod-1", "v5e:1x1", 1),
        ("v5litepod-4", "v5e:2x2", 4),
        ("v5litepod-8", "v5e:2x4", 8),
        ("v5litepod-256", "v5e:16x16", 256),
        ("v5p-8", "v5p:2x2x1", 4),
        ("v6e-8", "v6e:2x4", 8),
    ],
)
def test_what_a_name_is_to_the_compiler(name, topology, cores):
    found = find_slice(name)
    assert (found.topology, found.cores) == (topology, cores)


def test_every_generation_that_can_be_asked_for_can_be_checked():
    assert CORES.keys() == GENERATIONS.keys()


@pytest.mark.parametrize(("name", "gigabytes"), [("v2-8", 16), ("v3-8", 32), ("v5litepod-4", 16)])
def test_a_chip_has_the_memory_of_googles_tables(name, gigabytes):
    core = find_slice(name).core
    assert core.memory_gib * core.a_chip == gigabytes
    assert 0.9 * core.memory_gib < core.usable_gib < core.memory_gib


@pytest.mark.parametrize("name", ["v9-8", "v3", "v3-7", "v3-4096", "v3-24", "gpu", "v4-24"])
def test_what_there_is_not(name):
    with pytest.raises(InputError, match=f"--accelerator {name}: "):
        find_slice(name)

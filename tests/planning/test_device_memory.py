"""The formula for a device's memory."""

import pytest

from tfbert.hardware.tpu_slices import GIB
from tfbert.models.sizes import SIZES
from tfbert.planning.memory import device_memory
from tfbert.recipes.cost import CostModel

# What the TPU's compiler counted, docs/tpu_check.md: size, length, sequences at once, whether the
# batch has several micro-batches, GiB.
COMPILED = [
    ("large", 128, 32, False, 7.82),
    ("large", 512, 16, False, 14.05),
    ("base", 128, 256, True, 14.15),
    ("base", 512, 64, True, 19.36),
    ("base", 128, 128, True, 8.37),
    ("base", 512, 32, True, 11.48),
]


def memory_of(size="base", length=128, accumulates=False, **changes):
    parameters = CostModel(SIZES[size], 30_522, 512).parameters()
    predictions = round(0.15 * length)
    options = {"precision": "bfloat16", "accumulates": accumulates, **changes}
    return device_memory(
        SIZES[size], 30_522, parameters, parameters, length, predictions, **options
    )


@pytest.mark.parametrize(("size", "length", "sequences", "accumulates", "gib"), COMPILED)
def test_near_what_the_compiler_counted(size, length, sequences, accumulates, gib):
    found = memory_of(size, length, accumulates).total(sequences) / GIB
    assert found == pytest.approx(gib, rel=0.1)


def test_room_is_the_most_that_fits():
    memory = memory_of()
    room = memory.room(16 * GIB)
    assert memory.total(room) <= 16 * GIB < memory.total(room + 1)
    assert memory.room(1 * GIB) == 0


def test_what_makes_it_less():
    whole = memory_of()
    assert memory_of(rematerialize=True).sequence < 0.5 * whole.sequence
    assert memory_of(frozen_layers=9).sequence < 0.5 * whole.sequence
    assert whole.sequence < memory_of(precision="float32").sequence
    assert memory_of(accumulates=True).state == 2 * whole.state

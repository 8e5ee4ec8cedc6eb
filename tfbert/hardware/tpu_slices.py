"""What a slice of TPU chips is to its compiler: devices, their memory, and how they are wired.

References:
    Chips, cores and memory: https://cloud.google.com/tpu/docs/v2, /v3, /v4, /v5e, /v5p and /v6e.
    Memory that a program gets: what libtpu 0.0.42's compiler says of a program that is too large.
"""

import dataclasses
import math

from tfbert.errors import InputError
from tfbert.hardware.accelerators import parse_accelerator

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Core:
    """What one replica runs on, and how many of them a slice can have.

    Args:
        topology: The generation's name in libtpu.
        dimensions: Of the chips' torus.
        a_chip: Cores that a chip has; from v5 on the chip is one.
        memory_gib: High-bandwidth memory of a core.
        usable_gib: What of it a program gets.
        most_chips: Chips of the largest slice.
    """

    topology: str
    dimensions: int
    a_chip: int
    memory_gib: float
    usable_gib: float
    most_chips: int


CORES = {
    "v2": Core("v2", 2, 2, 8, 7.48, 256),
    "v3": Core("v3", 2, 2, 16, 15.48, 1_024),
    # Each core by itself: with both as one ("megacore") there are half as many, of 32 GiB.
    "v4": Core("v4", 3, 2, 16, 15.25, 4_096),
    "v5litepod": Core("v5e", 2, 1, 16, 15.75, 256),
    "v5p": Core("v5p", 3, 1, 96, 95.74, 4_096),
    "v6e": Core("v6e", 2, 1, 32, 31.25, 256),
}


@dataclasses.dataclass(frozen=True)
class TpuSlice:
    """A slice that can be compiled for.

    Args:
        name: As Google Cloud takes it, such as `v3-8`.
        chips: How many chips it has.
    """

    name: str
    chips: int
    core: Core

    @property
    def cores(self) -> int:
        """Replicas that a model is trained on."""
        return self.chips * self.core.a_chip

    @property
    def usable_bytes(self) -> int:
        """Memory of a core that a program gets."""
        return round(self.core.usable_gib * GIB)

    @property
    def shape(self) -> str:
        """Chips along each axis of the torus, as `2x4`."""
        doublings = self.chips.bit_length() - 1
        dimensions = self.core.dimensions
        sides = [2 ** ((doublings + axis) // dimensions) for axis in range(dimensions)]
        if self.chips == 4 and dimensions == 3:
            sides = [2, 2, 1]  # one host's board
        return "x".join(map(str, sides))

    @property
    def topology(self) -> str:
        """The slice's name in libtpu, such as `v5e:2x4`."""
        return f"{self.core.topology}:{self.shape}"


def find_slice(name: str, option: str = "--accelerator") -> TpuSlice:
    """The slice of a name such as `v5litepod-4`; `option` is what it was given with.

    Raises:
        InputError: If there is none.
    """
    accelerator = parse_accelerator(name, option)
    core = CORES[name.rpartition("-")[0]]
    chips = accelerator.chips
    if chips > core.most_chips or not math.log2(chips).is_integer():
        raise InputError(
            f"{option} {name}: {chips:,} chips; known are slices of a power of two, up to "
            f"{core.most_chips:,}"
        )
    return TpuSlice(name, chips, core)

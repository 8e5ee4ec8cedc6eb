"""Kinds of Cloud TPU: what `v5litepod-16` is made of, which image it starts, what it costs.

References:
    https://cloud.google.com/tpu/docs/system-architecture-tpu-vm
    https://cloud.google.com/tpu/docs/runtimes
"""

import dataclasses
import re

from tfbert.errors import InputError

# US dollars a chip-hour, on demand, US regions, from https://cloud.google.com/tpu/pricing as known
# in 2025. Prices differ by region and change; spot costs a part of that, which changes daily.
PRICES_NOTE = "list price on demand, US, as known in 2025: cloud.google.com/tpu/pricing"
_TENSORFLOW = "2.19.1"  # as in requirements-tpu.txt: a pod slice's workers must run the same


@dataclasses.dataclass(frozen=True)
class Generation:
    """One generation of Cloud TPU.

    Args:
        cores_in_name: What the number in the name counts, for each chip: 2 (cores) or 1 (chips).
        chips_a_host: Chips on each host of a pod slice.
        largest_host: Chips of the largest slice that is a single host.
        price: US dollars a chip-hour.
        image: Runtime version of a single host: plain Ubuntu, no TensorFlow.
    """

    cores_in_name: int
    chips_a_host: int
    largest_host: int
    price: float
    image: str


GENERATIONS = {
    "v2": Generation(2, 4, 4, 1.125, "tpu-ubuntu2204-base"),
    "v3": Generation(2, 4, 4, 2.20, "tpu-ubuntu2204-base"),
    "v4": Generation(2, 4, 4, 3.22, "tpu-ubuntu2204-base"),
    "v5litepod": Generation(1, 4, 8, 1.20, "v2-alpha-tpuv5-lite"),
    "v5p": Generation(2, 4, 4, 4.20, "v2-alpha-tpuv5"),
    "v6e": Generation(1, 4, 8, 2.70, "v2-alpha-tpuv6e"),
}


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """A slice of TPU chips that can be asked for.

    Args:
        name: As gcloud takes it, such as `v3-8`.
        chips: How many chips it has.
        hosts: How many machines they are in.
    """

    name: str
    generation: Generation
    chips: int
    hosts: int

    @property
    def price_per_hour(self) -> float:
        """US dollars an hour, from the price list."""
        return self.chips * self.generation.price

    @property
    def runtime_version(self) -> str:
        """The image to start. On a pod slice the workers' TensorFlow comes with it."""
        if self.hosts > 1:
            return f"tpu-vm-tf-{_TENSORFLOW}-pod-pjrt"
        return self.generation.image


def parse_accelerator(name: str, option: str = "--accelerator-type") -> Accelerator:
    """What a name such as `v2-8` or `v5litepod-16` stands for.

    Args:
        name: As gcloud takes it.
        option: The option that the name was given with, for the message.

    Raises:
        InputError: If there is no such kind of TPU.
    """
    match = re.fullmatch(r"(\w+)-(\d+)", name)
    generation = GENERATIONS.get(match[1]) if match else None
    if match is None or generation is None:
        raise InputError(
            f"{option} {name}: no Cloud TPU that TensorFlow runs on; known are "
            + ", ".join(f"{known}-N" for known in GENERATIONS)
        )
    number = int(match[2])
    chips, odd = divmod(number, generation.cores_in_name)
    one_host = chips <= generation.largest_host
    hosts, rest = (1, 0) if one_host else divmod(chips, generation.chips_a_host)
    if odd or rest or chips < 1:
        raise InputError(f"{option} {name}: there is no slice of {number} {match[1]}")
    return Accelerator(name, generation, chips, hosts)

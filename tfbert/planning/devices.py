"""The hardware that a plan can be made for: how fast a device is, and how much memory it has.

References:
    NVIDIA's data sheets of T4, V100, A10, L4, A100, H100 and H200 (dense, without sparsity; SXM
    where there is a choice), and Google Cloud's pages on the versions of TPU.
"""

from __future__ import annotations

import dataclasses
import os
import re
import time

import numpy as np

from tfbert.errors import InputError
from tfbert.hardware.tpu_slices import GIB, find_slice
from tfbert.planning.published_runs import A100_TENSORFLOW, TPU_V3, V100_PYTORCH

TERA = 1e12

# Memory of a GPU that a program does not get: context, cuBLAS, fragments. Assumed.
_GPU_RESERVED_GIB = 1.0


@dataclasses.dataclass(frozen=True)
class Device:
    """What computes one replica.

    Args:
        family: Whose published runs its utilisation is taken from (`published_runs`), or `cpu`.
        peaks: Operations a second of matrix products, by precision; the first one is what
            `--precision auto` takes.
        memory: Bytes that a program gets.
        is_checked: Whether the family's published runs were on this very device.
    """

    name: str
    family: str
    peaks: dict[str, float]
    memory: float
    is_checked: bool = True


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Some equal devices.

    Args:
        name: As it was asked for.
        words: What it is, in words.
        count: How many replicas it trains on.
    """

    name: str
    words: str
    device: Device
    count: int


def _gpu(name, family, gib, half, single, half_name="bfloat16", is_checked=False):
    # TensorFlow computes float32 products in TensorFloat-32 from Ampere on.
    peaks = {half_name: half * TERA, "float32": single * TERA}
    return Device(name, family, peaks, (gib - _GPU_RESERVED_GIB) * GIB, is_checked)


GPUS = {
    "T4": _gpu("T4", V100_PYTORCH, 15, 65, 8.1, "float16"),
    "V100-16GB": _gpu("V100-16GB", V100_PYTORCH, 16, 125, 15.7, "float16", is_checked=True),
    "V100-32GB": _gpu("V100-32GB", V100_PYTORCH, 32, 125, 15.7, "float16", is_checked=True),
    "A10": _gpu("A10", A100_TENSORFLOW, 24, 125, 62.5),
    "L4": _gpu("L4", A100_TENSORFLOW, 23, 121, 60),
    "A100-40GB": _gpu("A100-40GB", A100_TENSORFLOW, 40, 312, 156, is_checked=True),
    "A100-80GB": _gpu("A100-80GB", A100_TENSORFLOW, 80, 312, 156, is_checked=True),
    "H100-80GB": _gpu("H100-80GB", A100_TENSORFLOW, 80, 989, 494),
    "H200": _gpu("H200", A100_TENSORFLOW, 141, 989, 494),
}
_OTHER_NAMES = {"V100": "V100-16GB", "A100": "A100-40GB", "H100": "H100-80GB"}

# Of a chip, bfloat16. XLA computes float32 products of a TPU in bfloat16 as well by default.
TPU_PEAKS = {
    "v2": 45 * TERA,
    "v3": 123 * TERA,
    "v4": 275 * TERA,
    "v5litepod": 197 * TERA,
    "v5p": 459 * TERA,
    "v6e": 918 * TERA,
}


def parse_hardware(name: str) -> Hardware:
    """The hardware of a name: `8xA100-80GB`, `1xT4`, a TPU slice such as `v3-2048`, or `cpu`.

    A TPU slice has Google Cloud's name: `v3-2048` is 1,024 chips of two cores each.

    Raises:
        InputError: If there is no such hardware.
    """
    if name == "cpu":
        return _this_machine()
    generation = name.rpartition("-")[0]
    if generation in TPU_PEAKS:
        return _tpu(name, generation)
    match = re.fullmatch(r"(?:(\d+)x)?([\w-]+)", name)
    gpus = {key.lower(): key for key in GPUS}
    gpus |= {key.lower(): full for key, full in _OTHER_NAMES.items()}
    found = match and gpus.get(match[2].lower())
    if not match or not found or match[1] == "0":
        raise InputError(
            f"--hardware {name} is not known; it is cpu (this machine), a count of GPUs such as "
            f"8xA100-80GB ({', '.join(GPUS)}), or a TPU slice such as v3-8 "
            f"({', '.join(TPU_PEAKS)})"
        )
    count = int(match[1] or 1)
    return Hardware(name, f"{count:,} x NVIDIA {found}", GPUS[found], count)


def _tpu(name: str, generation: str) -> Hardware:
    tpu_slice = find_slice(name, "--hardware")
    peak = TPU_PEAKS[generation] / tpu_slice.core.a_chip
    peaks = {"bfloat16": peak, "float32": peak}
    device = Device(
        f"TPU {generation} core", TPU_V3, peaks, tpu_slice.usable_bytes, generation == "v3"
    )
    words = f"{tpu_slice.chips:,} TPU {generation} chips, {tpu_slice.cores:,} cores"
    return Hardware(name, words, device, tpu_slice.cores)


def _this_machine() -> Hardware:
    """The processor here: its speed is measured with NumPy, which takes a fraction of a second."""
    size = 2_048
    matrix = np.ones((size, size), np.float32)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - began)
    peak = 2 * size**3 / min(times)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    words = f"this machine, {os.cpu_count()} cores, {peak / 1e9:,.0f} GFLOP/s measured with NumPy"
    device = Device("this machine", "cpu", {"float32": peak, "bfloat16": peak}, memory)
    return Hardware("cpu", words, device, 1)

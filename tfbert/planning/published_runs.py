"""Published pre-trainings of BERT-Large: what they were, and how long they took.

References:
    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", arXiv
    1904.00962 v1, table 1: TPU v3, times of whole trainings.
    NVIDIA, DeepLearningExamples, BERT for PyTorch and BERT for TensorFlow 2, README.md: V100 and
    A100, sequences a second of each phase, and times of whole trainings on 32 DGX A100.
"""

from typing import NamedTuple


class Work(NamedTuple):
    """Sequences of one length, and how many tokens of each are predicted."""

    length: int
    predictions: int
    sequences: float


class PublishedRun(NamedTuple):
    """A training of BERT-Large, or a second of it.

    Args:
        name: What it was, in words.
        family: Devices and software.
        device: A name of a GPU in `tfbert.planning.devices`, or `v3`, whose devices are cores.
        devices: How many of them.
        work: What was computed.
        updates: In how many updates; 0 for a speed, where the parts of an update are not known.
        seconds: How long that took.
        is_fitted: Whether the utilisation is fitted to it; the others judge the fit.
    """

    name: str
    family: str
    device: str
    devices: int
    work: tuple[Work, ...]
    updates: int
    seconds: float
    is_fitted: bool


def _both_lengths(short: float, long: float) -> tuple[Work, ...]:
    """Sequences of 128 tokens and of 512, with as many predictions as in Devlin et al."""
    return Work(128, 20, short), Work(512, 80, long)


def _lamb(batch, updates, chips, minutes, is_fitted, optimizer="LAMB", sequences=None):
    # Nine tenths of the updates at length 128, one tenth at 512 (section 4.1).
    work = _both_lengths(*(sequences or (0.9 * batch * updates, 0.1 * batch * updates)))
    name = f"{optimizer}, batch {batch:,}" if not sequences else f"{optimizer}, batches 64k and 32k"
    name += f", {chips:,} chips"
    return PublishedRun(name, TPU_V3, "v3", 2 * chips, work, updates, 60 * minutes, is_fitted)


def _speed(family, device, devices, length, sequences_per_second, is_fitted):
    work = (Work(length, 20 if length == 128 else 80, sequences_per_second),)
    name = f"{devices} x {device}, length {length}"
    return PublishedRun(name, family, device, devices, work, 0, 1.0, is_fitted)


def _cluster(family, hours):
    # Of both programs: 7,038 updates of 65,536 sequences, then 1,563 of 32,768.
    work = _both_lengths(7_038 * 65_536, 1_563 * 32_768)
    name = "256 x A100, both phases"
    return PublishedRun(name, family, "A100-40GB", 256, work, 8_601, 3_600 * hours, False)


TPU_V3 = "TPU v3, TensorFlow 1"
A100_PYTORCH = "A100, PyTorch"
A100_TENSORFLOW = "A100, TensorFlow 2"
V100_PYTORCH = "V100, PyTorch"

# Which runs are fitted was decided by their place alone: of the LAMB paper's table every second
# row, of NVIDIA's figures those of one device.
RUNS = (
    _lamb(512, 1_000_000, 16, 81.4 * 60, False, "AdamW"),
    _lamb(512, 1_000_000, 16, 82.8 * 60, True),
    _lamb(1_024, 500_000, 32, 43.2 * 60, False),
    _lamb(2_048, 250_000, 64, 21.4 * 60, True),
    _lamb(4_096, 125_000, 128, 693.6, False),
    _lamb(8_192, 62_500, 256, 390.5, True),
    _lamb(16_384, 31_250, 512, 200.0, False),
    _lamb(32_768, 15_625, 1_024, 101.2, True),
    _lamb(65_536, 8_599, 1_024, 76.19, False, sequences=(7_037 * 65_536, 1_562 * 32_768)),
    _speed(A100_PYTORCH, "A100-40GB", 1, 128, 580, True),
    _speed(A100_PYTORCH, "A100-40GB", 1, 512, 210, True),
    _speed(A100_PYTORCH, "A100-40GB", 8, 128, 4_591, False),
    _speed(A100_PYTORCH, "A100-40GB", 8, 512, 1_657, False),
    _cluster(A100_PYTORCH, 1.2),
    _speed(A100_TENSORFLOW, "A100-40GB", 1, 128, 486, True),
    _speed(A100_TENSORFLOW, "A100-40GB", 1, 512, 97, True),
    _speed(A100_TENSORFLOW, "A100-40GB", 8, 128, 3_799, False),
    _speed(A100_TENSORFLOW, "A100-40GB", 8, 512, 650, False),
    _cluster(A100_TENSORFLOW, 2.02),
    _speed(V100_PYTORCH, "V100-32GB", 1, 128, 224, True),
    _speed(V100_PYTORCH, "V100-32GB", 1, 512, 75, True),
    _speed(V100_PYTORCH, "V100-32GB", 8, 128, 1_746, False),
    _speed(V100_PYTORCH, "V100-32GB", 8, 512, 586, False),
)

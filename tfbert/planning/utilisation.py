"""How long an update takes: the share of the peak that training reaches, fitted to published runs.

    seconds = products / (devices * peak * utilisation) + updates * overhead * log2(devices)

The second term is what an update costs that does not shrink with the share of a device: the
reduction of the gradients, and waiting for each other. It is fitted where the published runs have
several numbers of devices, and is 0 otherwise.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from tfbert.models.sizes import SIZES
from tfbert.planning.devices import GPUS, TPU_PEAKS
from tfbert.planning.published_runs import RUNS, TPU_V3, PublishedRun
from tfbert.recipes.flops import training_flops

_ON_A_CPU = 0.35  # share of the peak: assumed; `mfu` of a run is a machine's own
_VOCABULARY_SIZE = 30_522  # of all published runs


class Utilisation(NamedTuple):
    """What a family of hardware reaches.

    Args:
        shares: Share of the peak by sequence length.
        overhead: Seconds an update for each doubling of the devices.
    """

    shares: dict[int, float]
    overhead: float

    def share(self, length: int) -> float:
        """The share at a length: between the published lengths by the logarithm of the length."""
        lengths = sorted(self.shares)
        shares = [self.shares[length] for length in lengths]
        return float(np.interp(math.log(length), np.log(lengths), shares))

    def seconds(self, products: float, length: int, peak: float, devices: int) -> float:
        """Seconds of an update.

        Args:
            products: Operations of the matrix products, over all devices together.
            length: Tokens a sequence.
            peak: Operations a second of a device.
        """
        return products / (devices * peak * self.share(length)) + self.overhead * math.log2(devices)


@functools.cache
def utilisation_of(family: str) -> Utilisation:
    """The utilisation of a family of published runs, or what is assumed for `cpu`."""
    if family == "cpu":
        return Utilisation({128: _ON_A_CPU}, 0.0)
    runs = [run for run in RUNS if run.family == family and run.is_fitted]
    if family == TPU_V3:
        # Times of whole trainings, nine tenths at length 128: one share for both lengths. Least
        # squares of the relative error.
        rows = [[sum(_at_peak(run).values()), _doublings(run)] for run in runs]
        scaled = np.array(rows) / [[run.seconds] for run in runs]
        inverse, overhead = np.linalg.lstsq(scaled, np.ones(len(runs)), rcond=None)[0]
        return Utilisation({128: 1 / inverse}, float(overhead))
    shares = {}
    for run in runs:  # each is of one length and one device
        [(length, seconds)] = _at_peak(run).items()
        shares[length] = seconds / run.seconds
    return Utilisation(shares, 0.0)


def predicted_seconds(run: PublishedRun) -> float:
    """What the fit says of a published run."""
    found = utilisation_of(run.family)
    products = sum(seconds / found.share(length) for length, seconds in _at_peak(run).items())
    return products + found.overhead * _doublings(run)


def _at_peak(run):
    """Seconds of a run's matrix products at the devices' peak, by sequence length."""
    peak = TPU_PEAKS["v3"] / 2 if run.family == TPU_V3 else max(GPUS[run.device].peaks.values())
    return {
        work.length: work.sequences
        * training_flops(SIZES["large"], _VOCABULARY_SIZE, work.length, work.predictions).total
        / (run.devices * peak)
        for work in run.work
    }


def _doublings(run):
    return run.updates * math.log2(run.devices)

"""Times of published runs, planned by a fit to half of them."""

import statistics

import pytest

from tfbert.planning.published_runs import A100_TENSORFLOW, RUNS, TPU_V3
from tfbert.planning.utilisation import predicted_seconds, utilisation_of


def test_runs_that_were_not_fitted_are_planned_well():
    errors = [abs(predicted_seconds(r) / r.seconds - 1) for r in RUNS if not r.is_fitted]
    assert len(errors) >= len(RUNS) / 2
    assert statistics.median(errors) <= 0.10  # what was asked for
    assert max(errors) <= 0.25


def test_a_share_is_what_its_run_says():
    # 486 sequences a second; 6 operations a parameter (without embeddings) and token, and the
    # attention and the heads on top: between these two.
    layers = 24 * 12 * 1024**2
    lower = 486 * 128 * 6 * layers / 312e12
    found = utilisation_of(A100_TENSORFLOW).share(128)
    assert lower < found < 1.1 * lower


def test_between_the_lengths_and_beyond_them():
    found = utilisation_of(A100_TENSORFLOW)
    assert found.share(64) == found.share(128)
    assert found.share(1024) == found.share(512)
    assert found.share(256) == pytest.approx((found.share(128) + found.share(512)) / 2)


def test_an_update_on_more_devices_has_the_overhead_of_their_doublings():
    found = utilisation_of(TPU_V3)
    one, many = (found.seconds(1e15, 128, 60e12, devices) for devices in (1, 1_024))
    assert many == pytest.approx(one / 1_024 + 10 * found.overhead)
    assert found.overhead > 0

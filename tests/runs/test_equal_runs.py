"""However the work is divided, 20 updates end in the same weights."""

import itertools
import json
import pathlib
import sys

import keras
import numpy as np
import pytest
from helpers.processes import finish, start
from helpers.small_models import difference, train

from tfbert.hardware.strategies import get_strategy

HERE = pathlib.Path(__file__).parent
BOUND = 1e-5  # of ||a - b|| / ||b||, over all weights together

# (replicas, accumulate_steps, steps_per_execution, jit_compile)
TABLE = list(itertools.product([1, 2], [1, 4], [1, 8], [False, True]))[1:]
QUICK = [(1, 4, 1, True), (2, 4, 8, False)]
WORKERS = list(itertools.product([1, 4], [1, 8], [False, True]))
QUICK_WORKERS = [(4, 8, False)]


@pytest.fixture(scope="module")
def plain():
    """One replica, one micro-batch, one step a call."""
    return train(get_strategy("cpu"))


def check(result, plain):
    assert difference(result, plain) < BOUND
    assert result["updates"] == plain["updates"] == 20
    for name in ("history", "evaluation", "predictions"):
        np.testing.assert_allclose(result[name], plain[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[] if c in QUICK else pytest.mark.slow) for c in TABLE], ids=str
)
def test_in_one_process(case, plain):
    replicas, accumulate_steps, steps_per_execution, jit_compile = case
    result = train(
        get_strategy("cpu", replicas),
        accumulate_steps=accumulate_steps,
        steps_per_execution=steps_per_execution,
        jit_compile=jit_compile,
    )
    check(result, plain)


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(QUICK_WORKERS, id="quick"),
        pytest.param(WORKERS, id="all", marks=pytest.mark.slow),
    ],
)
def test_two_worker_processes(cases, plain, tmp_path):
    command = [sys.executable, str(HERE / "table_worker.py"), str(tmp_path), json.dumps(cases)]
    finish(start(["-m", "tfbert", "launch", "--workers", "2", "--", *command]), 120 * len(cases))
    for number in range(len(cases)):
        first, second = (np.load(tmp_path / f"{number}-{worker}.npz") for worker in (0, 1))
        check(dict(first), plain)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    assert sorted(path.name for path in tmp_path.glob("of-*")) == ["of-0.csv", "of-0.keras"]


def adam():
    return keras.optimizers.Adam(1e-3, global_clipnorm=0.1)


def test_a_stock_optimizer_clips_the_reduced_gradient():
    one = train(get_strategy("cpu"), adam, epochs=1)
    two = train(get_strategy("cpu", 2), adam, epochs=1, accumulate_steps=2)
    assert difference(two, one) < BOUND

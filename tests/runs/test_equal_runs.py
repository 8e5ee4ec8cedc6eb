"""However the work is divided, 20 updates end in the same weights."""

import itertools
import json
import pathlib
import sys

import keras
import numpy as np
import pytest
from helpers.processes import finish, start
from helpers.small_models import BATCH, LINEAR_X, LINEAR_Y, difference, make_linear, train

from tfbert.hardware.strategies import get_strategy

HERE = pathlib.Path(__file__).parent
BOUND = 1e-5  # of ||a - b|| / ||b||, over all weights together
OPTIONS = ("accumulate_steps", "steps_per_execution", "jit_compile")
WORKERS = [
    dict(zip(OPTIONS, values, strict=True))
    for values in itertools.product([1, 4], [1, 8], [False, True])
]
TABLE = list(itertools.product([1, 2], WORKERS))[1:]


def is_quick(replicas, options):
    return (replicas, *options.values()) == (2, 4, 8, True)


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
    ("replicas", "options"),
    [pytest.param(*c, marks=[] if is_quick(*c) else pytest.mark.slow, id=str(c)) for c in TABLE],
)
def test_in_one_process(replicas, options, plain):
    check(train(get_strategy("cpu", replicas), **options), plain)


@pytest.mark.parametrize(
    "cases", [WORKERS[-2:-1], pytest.param(WORKERS, marks=pytest.mark.slow)], ids=["quick", "all"]
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


def clipped(replicas, **options):
    with get_strategy("cpu", replicas).scope():
        model = make_linear()
        optimizer = keras.optimizers.Adam(1e-3, global_clipnorm=0.1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, **options)
    model.fit(LINEAR_X, LINEAR_Y, BATCH, shuffle=False, verbose=0)
    return {"weights": np.concatenate([v.numpy().ravel() for v in model.trainable_variables])}


def test_a_stock_optimizer_clips_the_reduced_gradient():
    assert difference(clipped(2, accumulate_steps=2), clipped(1)) < BOUND

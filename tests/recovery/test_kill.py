"""SIGKILL at random moments, also while a checkpoint is written: the run ends as if there were
none."""

import kill_run
import numpy as np
import pytest
from recovery_model import Batches, X, Y, fresh_model


@pytest.mark.parametrize(
    ("kills", "bert"), [(2, False), pytest.param(25, True, marks=pytest.mark.slow)], ids=str
)
def test_a_killed_run_is_bitwise_the_uninterrupted_one(tmp_path, two_replicas, kills, bert):
    one = tmp_path / "one"
    if bert:
        kill_run.run_with_kills(one, kills=0, seed=0, bert=True)
    else:  # in this process, where the model is traced
        one.mkdir()
        kill_run.fit(one, fresh_model(two_replicas), Batches(), (X[:13], Y[:13]))
    kill_run.run_with_kills(tmp_path / "two", kills, seed=1, bert=bert)
    weights, history, log = kill_run.results(tmp_path / "two")
    expected_weights, expected_history, expected_log = kill_run.results(one)
    assert history == expected_history
    assert log == expected_log
    assert weights.keys() == expected_weights.keys()
    for name, array in expected_weights.items():
        assert weights[name].tobytes() == array.tobytes(), name


@pytest.mark.slow
def test_with_xla_it_is_the_same_within_rounding(tmp_path):
    kill_run.run_with_kills(tmp_path / "one", kills=0, seed=0, bert=True, xla=True)
    kill_run.run_with_kills(tmp_path / "two", kills=3, seed=4, bert=True, xla=True)
    weights, history, _ = kill_run.results(tmp_path / "two")
    expected, expected_history, _ = kill_run.results(tmp_path / "one")
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-3)

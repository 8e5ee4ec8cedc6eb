"""Tests that hold on either backend, once more with Keras on JAX; those beside them run on
TensorFlow."""

import re

import pytest
from helpers.processes import TESTS, finish, start


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "names", "marks"),
    [
        ("end_to_end/test_bad_input.py", "", "not slow"),
        ("recovery/test_kill.py", "2-False", "not slow"),
        ("runs/test_pretrain_recovery.py", "stopped_three_times", "not slow"),
        ("runs/test_pretrain_staged.py", "between_stages", "slow"),
    ],
)
def test_with_jax(file, names, marks):
    pytest.importorskip("jax")
    command = ["-m", "pytest", "-q", "-n", "0", TESTS / file, "-k", names, "-m", marks]
    process = start(command, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    last_line = finish(process, 1200).splitlines()[-1]
    assert re.search(r"[1-9]\d* passed", last_line) and "skipped" not in last_line, last_line

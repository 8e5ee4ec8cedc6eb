"""Tests that hold on either backend, once more with Keras on JAX; those beside them run on
TensorFlow."""

import re

import pytest
from helpers.processes import TESTS, finish, start


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("end_to_end/test_bad_input.py", ""),
        ("recovery/test_kill.py", "2-False"),
        ("runs/test_pretrain_recovery.py", "stopped_three_times"),
        ("runs/test_pretrain_staged.py", "between_stages"),
    ],
)
def test_with_jax(file, names):
    pytest.importorskip("jax")
    command = ["-m", "pytest", "-q", "-n", "0", TESTS / file, "-k", names]
    process = start(command, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    last_line = finish(process, 1200).splitlines()[-1]
    assert re.search(r"[1-9]\d* passed", last_line) and "skipped" not in last_line, last_line

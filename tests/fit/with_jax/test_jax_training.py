"""The same training on TensorFlow and on JAX, which needs a process of its own."""

import functools
import json
import pathlib
import re

import keras_hub
import numpy as np
import pytest
from helpers.backend_training import train_alike
from helpers.processes import finish, free_ports, start

from tfbert.hardware.strategies import get_strategy

pytest.importorskip("jax")
HERE = pathlib.Path(__file__).parent
ON_JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
DIVISIONS = [(1, 1), (4, 1), (1, 8), (4, 8)]  # accumulate_steps, steps_per_execution


@functools.cache
def on_tensorflow(kind):
    return train_alike(get_strategy("cpu"), kind)


def assert_same(found, row, tolerance=1e-5, expected=None):
    """A row of what `train_worker` wrote against TensorFlow, by default on one device."""
    expected = expected or on_tensorflow(row.partition(":")[0])
    found = {name: found[f"{row}/{name}"] for name in expected}
    distance = np.linalg.norm(found["weights"] - expected["weights"])
    assert distance < tolerance * np.linalg.norm(expected["weights"]), row
    for name in set(expected) - {"weights"}:
        np.testing.assert_allclose(found[name], expected[name], 10 * tolerance, 1e-5, err_msg=name)


def trained(tmp_path, replicas, rows, seconds=600):
    file = tmp_path / "found.npz"
    process = start([HERE / "train_worker.py", file, str(replicas), *rows], **ON_JAX)
    finish(process, seconds)
    return dict(np.load(file))


@pytest.mark.parametrize(
    ("replicas", "kind", "divisions"),
    [
        (2, "linear", DIVISIONS[::3]),
        pytest.param(2, "distilled", DIVISIONS[1:2], marks=pytest.mark.slow),
        pytest.param(1, "half-distilled", DIVISIONS, marks=pytest.mark.slow),
        pytest.param(2, "half-distilled", DIVISIONS[3:], marks=pytest.mark.slow),
        pytest.param(1, "linear", DIVISIONS, marks=pytest.mark.slow),
        pytest.param(1, "classifier", DIVISIONS, marks=pytest.mark.slow),
        pytest.param(2, "classifier", DIVISIONS, marks=pytest.mark.slow),
    ],
)
def test_the_same_weights_after_20_updates(replicas, kind, divisions, tmp_path):
    rows = [f"{kind}:{accumulate}:{steps}" for accumulate, steps in divisions]
    found = trained(tmp_path, replicas, rows)
    for row in rows:
        assert_same(found, row)


@pytest.mark.slow
def test_an_overflow_on_one_device_is_skipped_on_all_as_on_tensorflow(two_replicas, tmp_path):
    """Divided alike: a micro-batch's gradient is as large as that of its own mean."""
    row = "float16:2:1"
    found = trained(tmp_path, 2, [row])
    expected = train_alike(two_replicas, "float16", accumulate_steps=2)
    assert expected["skipped"] >= 4
    for name in ("skipped", "scale"):
        assert found[f"{row}/{name}"] == expected[name]
    # Products of float16 are rounded in another order, and LAMB divides by their norm.
    assert_same(found, row, 1e-2, expected)


@pytest.mark.slow
def test_two_processes(tmp_path):
    row = "classifier:4:8"
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    files, processes = [tmp_path / f"{index}.npz" for index in range(2)], []
    for index, file in enumerate(files):
        task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        command = [HERE / "train_worker.py", file, "2", row]
        processes.append(start(command, **ON_JAX, TF_CONFIG=task))
    try:
        for process in processes:
            finish(process, 600)
    finally:
        for process in processes:
            process.kill()
    first, second = (dict(np.load(file)) for file in files)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert_same(first, row)


@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_details(which):
    process = start(
        ["-m", "pytest", "-q", "-n", "0", "-m", which, HERE / "jax_checks.py"], **ON_JAX
    )
    last_line = finish(process, 600).splitlines()[-1]
    assert re.search(r"[1-9]\d* passed", last_line) and "failed" not in last_line, last_line


@pytest.mark.skipif(
    tuple(map(int, keras_hub.__version__.split(".")[:2])) < (0, 32),
    reason="KerasHub before 0.32 imports TensorFlow",
)
def test_without_tensorflow():
    assert finish(start([HERE / "without_tensorflow.py"], **ON_JAX), 600).endswith("trained\n")

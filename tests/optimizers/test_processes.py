"""What needs processes of its own: two workers, another backend."""

import json
import pathlib
import re

import numpy as np
import pytest
from helpers.optimizer_table import TABLE, make_reference, random_arrays, relative_error
from helpers.processes import finish, free_ports, start

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """The weights that each of two worker processes ends with, `{"ROW/PATH": array}`."""
    folder = tmp_path_factory.mktemp("workers")
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    files = [folder / f"{index}.npz" for index in range(2)]
    processes = []
    for index, file in enumerate(files):
        task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        processes.append(start([HERE / "multi_worker.py", file], TF_CONFIG=task))
    try:
        for process in processes:
            finish(process, 240)
    finally:
        for process in processes:
            process.kill()
    return [dict(np.load(file, allow_pickle=False)) for file in files]


def expected_after_20_steps(row, skip=lambda step: False, **options):
    """The float64 reference, with the sum of both workers' gradients."""
    reference = make_reference(row, random_arrays(0), **options)
    for step in range(20):
        if not skip(step):
            one, two = (random_arrays(1000 * step + worker) for worker in range(2))
            reference.step({k: one[k] + two[k] for k in one})
    return reference.weights


def weights_of(arrays, name):
    return {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{name}/")}


def test_two_workers_are_one_replica(two_workers):
    first, second = (weights_of(arrays, "lamb-clipped") for arrays in two_workers)
    assert relative_error(first, second) == 0
    assert relative_error(first, expected_after_20_steps("lamb-clipped")) < 1e-6


OVERFLOWS = {
    "overflow": ("lamb", {}),
    # Plain descent, which the table holds as a LARS without everything that makes it LARS.
    "overflow-sgd": (
        "lars",
        {
            "momentum": 0.0,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "exclude_from_layer_adaptation": ["."],
        },
    ),
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_an_overflow_on_one_worker_is_skipped_on_both(two_workers, name):
    first, second = (weights_of(arrays, name) for arrays in two_workers)
    assert relative_error(first, second) == 0
    row, options = OVERFLOWS[name]
    expected = expected_after_20_steps(row, skip=lambda step: step % 3 == 0, **options)
    assert relative_error(first, expected) < 1e-6
    assert [int(arrays[f"skipped/{name}"]) for arrays in two_workers] == [7, 7]


@pytest.mark.slow
def test_the_shared_tests_pass_with_jax():
    pytest.importorskip("jax")
    tests = [HERE / f"test_{name}.py" for name in ("application", "lamb", "schedules")]
    process = start(["-m", "pytest", "-q", *tests], KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    last_line = finish(process, 1200).splitlines()[-1]
    assert re.search(r"[1-9]\d* passed", last_line) and "skipped" not in last_line, last_line


def test_jax_gives_the_same_weights():
    pytest.importorskip("jax")
    process = start([HERE / "jax_parity.py"], KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    assert finish(process, 240).split() == [*TABLE, "overflow", "fit"]

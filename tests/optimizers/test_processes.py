"""What needs processes of its own: two workers, another backend."""

import json
import pathlib
import re

import numpy as np
import pytest
from helpers.optimizer_table import make_reference, random_arrays, relative_error
from helpers.optimizer_training import sum_of_two
from helpers.processes import finish, free_ports, start

HERE = pathlib.Path(__file__).parent

# Names of multi_worker.py: row of the table and options of the reference.
WORKERS = {
    "lamb": ("lamb", {}),
    "lamb-clipped": ("lamb-clipped", {}),
    "lars": ("lars", {}),
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


@pytest.mark.parametrize(
    "names",
    [
        ["lamb-clipped", "overflow", "overflow-sgd"],
        pytest.param(["lamb", "lars"], marks=pytest.mark.slow),
    ],
    ids=",".join,
)
def test_two_workers_are_one_replica_and_skip_together(names, tmp_path):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    files = [tmp_path / f"{index}.npz" for index in range(2)]
    processes = []
    for index, file in enumerate(files):
        task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        processes.append(start([HERE / "multi_worker.py", file, *names], TF_CONFIG=task))
    try:
        for process in processes:
            finish(process, 240)
    finally:
        for process in processes:
            process.kill()
    workers = [dict(np.load(file, allow_pickle=False)) for file in files]
    for name in names:
        row, options = WORKERS[name]
        reference = make_reference(row, random_arrays(0), **options)
        for step in range(20):
            if "overflow" not in name or step % 3 != 0:
                reference.step(sum_of_two(step))
        first, second = ({k: w[f"{name}/{k}"] for k in reference.weights} for w in workers)
        assert relative_error(first, second) == 0, name
        assert relative_error(first, reference.weights) < 1e-6, name
        if "overflow" in name:
            assert [int(w[f"skipped/{name}"]) for w in workers] == [7, 7]


@pytest.mark.parametrize(
    "modules",
    [
        ["jax_parity"],
        pytest.param(
            ["test_application", "test_lamb", "test_options", "test_schedules"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=",".join,
)
def test_with_jax(modules):
    pytest.importorskip("jax")
    files = [HERE / f"{name}.py" for name in modules]
    process = start(["-m", "pytest", "-q", *files], KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    last_line = finish(process, 1200).splitlines()[-1]
    assert re.search(r"[1-9]\d* passed", last_line) and "skipped" not in last_line, last_line

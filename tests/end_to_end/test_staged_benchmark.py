"""The benchmark of staged training, on models of a few numbers."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "benchmarks" / "staged_training.py"


@pytest.mark.slow
def test_it_writes_its_page_and_repeats_no_run(tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, str(SCRIPT), "--quick", "--runs", str(tmp_path / "runs")]
    command += ["--output", str(tmp_path / "docs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, env=environment, timeout=900)
    results = json.loads((tmp_path / "docs" / "benchmark_staged_training.json").read_text())
    assert results["variants"].keys() == {"full depth", "stack", "mslt"}
    stages = results["variants"]["mslt"]["1"]["stages"]
    assert [(stage["layers"], stage["frozen"]) for stage in stages] == [
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 3),
        (4, 0),
    ]
    assert all(stage["seconds"] > 0 for stage in stages)
    page = (tmp_path / "docs" / "benchmark_staged_training.md").read_text()
    assert "| full depth | `` |" in page
    assert "| mslt | 5 | 4 | 0 | 2 | " in page
    assert (tmp_path / "docs" / "benchmark_staged_training.png").stat().st_size > 1_000

    done = {path: path.stat().st_mtime for path in (tmp_path / "runs").glob("*/metrics.json")}
    assert len(done) == 3 * (1 + 3) + 1  # pre-trainings, fine-tunings, the last for its memory
    subprocess.run(command, check=True, env=environment, timeout=300)
    assert done == {path: path.stat().st_mtime for path in done}

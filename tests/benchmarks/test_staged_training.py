"""The script that writes docs/benchmark_staged_training.md."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "benchmarks" / "staged_training.py"


def numbers(stages, losses, accuracies):
    """One run as the report reads it; stages are (layers, frozen, updates, seconds, operations)."""
    keys = ("layers", "frozen", "steps", "seconds")
    return {
        "stages": [dict(zip(keys, stage, strict=False)) for stage in stages],
        "predicted": [stage[4] for stage in stages],
        "losses": losses,
        "sst2": accuracies,
    }


def test_the_report_counts_right(tmp_path, monkeypatch):
    """Runs written by hand, numbers reckoned by hand."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from staged_report import write_report

    whole = [(4, 0, 100, 100.0, 1000)]
    grown = [(2, 0, 60, 15.0, 200), (4, 2, 40, 40.0, 400)]
    curve = [(50, 6.0), (100, 5.0)]
    full = numbers(whole, curve, [0.6, 0.8])
    # to loss 5.0: 35 s of 100 s, 400 of 1,000 operations
    staged = numbers(grown, [(30, 6.5), (60, 5.5), (80, 5.0), (100, 4.5)], [0.7, 0.74])
    slower = numbers(grown, [(60, 5.5), (100, 4.5)], [0.72, 0.76])  # halfway, at 35 s too
    lost = numbers(grown, [(60, 5.5), (100, 5.1)], [0.5, 0.5])
    results = {
        "search": {"full depth": {"1": full}, "stack": {"1": staged}, "lost": {"1": lost}},
        "confirmed": {
            "full depth": {"2": full, "3": full},
            "stack": {"2": staged, "3": slower},
        },
        "words": {"full depth": "", "stack": "--staging stack", "lost": "--staging mslt"},
        "memory": {"stage 1": 5e6, "full depth": 20e6},
        "settings": {
            "recipe": {
                "num_layers": 4,
                "size": "tiny",
                "phases": [{"steps": 100, "global_batch_size": 8, "sequence_length": 32}],
            },
            "machine": "a machine",
            "quick": False,
            "fine_tuning": {"labels": 10, "seeds": [1, 2]},
        },
    }
    results = json.loads(json.dumps(results))
    page = write_report(results, tmp_path)
    assert page == (tmp_path / "benchmark_staged_training.md").read_text()
    assert json.loads((tmp_path / "benchmark_staged_training.json").read_text()) == results
    assert (tmp_path / "benchmark_staged_training.png").stat().st_size > 1_000
    # 100 s / 55 s; SST-2 is 0.02 and 0.04 above 0.7: 0.03 +- 12.706 x 0.01
    row = "| stack | `--staging stack` | 2, 3 | 55 (100) | 1.82 (1.82, 1.82) "
    row += "| 1.82 (1.82, 1.82) "  # 100 updates of 1 s
    row += "| 4.500 (5.000) | -0.500 ± 0.000 | -0.500 ± 0.000 | 2.86 (2.86, 2.86) "
    assert row + "| 0.7300, +0.0300 ± 0.1271 |" in page
    assert "- stack: 1.33 times faster to full depth's final loss on all of 2 seeds." in page
    assert "- full depth: 1.7 to 1.7 minutes; at most 12 asked: reached." in page
    assert "| stack | `--staging stack` | 1.67 | 4.500 | -0.500 | -0.500 | 2.50 |" in page
    assert "| lost | `--staging mslt` | 1.67 | 5.100 | +0.100 | +0.100 | never |" in page
    # Not yet compared with anything: a run whose full depth is still on its way.
    del results["confirmed"]["full depth"], results["memory"]["full depth"], results["search"]
    partial = write_report({**results, "search": {}}, tmp_path)
    assert "| stack |" not in partial
    # full depth does 10 operations a second
    assert "| stack | 1 | 2 | 0 | 60 | 20.0 | 15.0 | -25% |" in page
    assert "- stage 1: 5 MB, 0.25 of full depth" in page


@pytest.mark.slow
def test_it_writes_its_page_and_repeats_no_run(tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, str(SCRIPT), "--quick", "--runs", str(tmp_path / "runs")]
    command += ["--output", str(tmp_path / "docs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, env=environment, timeout=900)
    results = json.loads((tmp_path / "docs" / "benchmark_staged_training.json").read_text())
    assert results["search"].keys() >= {"full depth", "stack", "mslt"}
    stages = results["search"]["mslt"]["1"]["stages"]
    assert [(stage["layers"], stage["frozen"]) for stage in stages] == [
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 3),
        (4, 0),
    ]
    assert all(stage["seconds"] > 0 for stage in stages)
    page = (tmp_path / "docs" / "benchmark_staged_training.md").read_text()
    assert "| full depth |  | 1.00 | " in page
    assert "| mslt brief | 5 | 4 | 0 | 29 | " in page
    assert (tmp_path / "docs" / "benchmark_staged_training.png").stat().st_size > 1_000

    done = {path: path.stat().st_mtime for path in (tmp_path / "runs").glob("*/metrics.json")}
    assert len(done) == 3 + 6 * (1 + 1) + 1  # search; fresh seed, fine-tuned; memory
    subprocess.run(command, check=True, env=environment, timeout=300)
    assert done == {path: path.stat().st_mtime for path in done}

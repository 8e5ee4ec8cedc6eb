"""The script that writes docs/benchmark_sentiment.md."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SETTING = {
    "task": "sst2",
    "model": "minilm",
    "max_length": 128,
    "batch_size": 32,
    "epochs": 1,
    "learning_rate": 5e-5,
    "training_examples": 1000,
    "evaluation_examples": 100,
    "mean_tokens": 25.0,
    "padded_tokens": {"stock": 10.0, "cached": 10.0, "lamb": 20.0},
    "auto": "float32",
    "machine": "a machine",
}


def run(*options, status=0):
    """What the script says, ending with this status."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "benchmarks" / "sentiment.py")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def row_of(page, title):
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {title}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_report_counts_right(tmp_path):
    """Cells written by hand, numbers reckoned by hand."""
    folder = tmp_path / "results" / "sst2-128-minilm"
    folder.mkdir(parents=True)

    def write(name, content):
        (folder / f"{name}.json").write_text(json.dumps(content))

    def speed(seconds, tokens):
        return {"seconds": seconds, "examples": 100, "tokens": tokens, "padded": 1000}

    write("setting", SETTING)
    write("speed-stock-50x0", speed(9.0, 200))
    write("speed-stock-50x1", speed(11.0, 300))  # 200 in 20 s, 75 % padding
    write("speed-cached-50x0", speed(1.0, 900))
    write("speed-cached-50x1", speed(1.0, 900))
    write("speed-lamb-50x0", speed(1.0, 900))  # on short texts: 10 tokens each instead of 20
    for seed, accuracies in ((1, (0.7, 0.8)), (2, (0.7, 0.9)), (3, (0.7, 0.85))):
        curve = [[500, accuracies[0]], [1000, accuracies[1]]]
        write(f"accuracy-stock-{seed}", {"curve": curve})
        better = [[500, 0.86 if seed < 3 else 0.5], [1000, 0.86]]
        write(f"accuracy-adam-{seed}", {"curve": better})
        write(f"accuracy-uniform-{seed}", {"curve": curve})
    write("pipeline", {"examples": 1000, "seconds": dict.fromkeys(PIPELINE, 0.5)})
    write(
        "predict-200-1x0",
        {
            "stock": {"seconds": 10.0, "examples": 200},
            "tfbert, float32": {"seconds": 2.0, "examples": 200, "difference": 1e-6, "changed": 3},
        },
    )
    run("--report", "--results", str(tmp_path / "results"), "--docs", str(tmp_path))
    page = (tmp_path / "benchmark_sentiment.md").read_text()
    # 0.85 is reached after 1000 examples by two of three seeds of stock, at 10 a second.
    assert row_of(page, "stock:") == ["10.0", "1.00", "75 %", "0.8500 (± 0.0500)", "1.7"]
    # Trained as the row before it; two of three seeds reach 0.85 after 500, at 100 a second.
    # 9 and 11 times stock in the two turns: 10 ± 12.7062 x 1.
    cells = ["100.0", "10.00 (-2.71 to 22.71)", "10 %", "0.8600 (± 0.0000)", "0.1"]
    assert row_of(page, "+ input") == cells
    assert row_of(page, "+ 4 times larger batch")[:3] == ["50.0", "5.00", "10 %"]
    assert "| + batches by length" not in page  # nothing was measured
    assert "All steps at stock's batch, *+ input" in page
    assert "times stock; 8 asked, reached, though the interval leaves it open." in page
    assert "0.7258 to 0.9742" in page  # 0.85 ± 4.3027 x 0.05 / sqrt(3)
    assert row_of(page, "tfbert, float32") == ["100.0", "5.00", "1.0e-06", "3"]
    assert row_of(page, "next run") == ["1,000", "10"]
    assert (tmp_path / "benchmark_sentiment.png").read_bytes().startswith(b"\x89PNG")
    shuffling = (tmp_path / "benchmark_shuffling.md").read_text()
    assert row_of(shuffling, "uniform") == ["0.8000", "0.9000", "0.8500", "0.8500 (± 0.0500)", "-"]
    assert row_of(shuffling, "by length")[-1].startswith("+0.0100 (-0.11")


PIPELINE = ("tokenize", "tokenize and write the cache", "read the cache", "make batches")


@pytest.mark.slow
def test_every_part_runs_and_is_not_measured_again(tmp_path):
    options = ("--quick", "--results", str(tmp_path / "results"), "--docs", str(tmp_path))
    run(*options)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}
    names = {path.stem for path in files}
    assert names >= {"setting", "pipeline", "predict-32-2x1", "speed-lamb-2x1", "accuracy-tokens-1"}
    (cell,) = (path for path in files if path.stem == "accuracy-stock-1")
    assert json.loads(cell.read_text())["padding_difference"] < 1e-4
    page = (tmp_path / "benchmark_sentiment.md").read_text()
    run(*options)
    assert (tmp_path / "benchmark_sentiment.md").read_text() == page
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())
    setting = cell.with_name("setting.json")
    setting.write_text(json.dumps({**json.loads(setting.read_text()), "machine": "another"}))
    assert "its numbers are of another machine; give" in run(*options, status=2)

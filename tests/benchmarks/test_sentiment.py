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
    "padded_tokens": {"stock": 10.0, "length": 10.0, "words": 10.0, "lamb": 20.0},
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

    def speed(seconds, tokens, building=0.0):
        counts = {"examples": 100, "tokens": tokens, "padded": 1000}
        return {"seconds": seconds, "building": building, "commit": "abc", **counts}

    write("setting", SETTING)
    write("speed-stock-50x0", speed(9.0, 200, building=20.0))
    write("speed-stock-50x1", speed(11.0, 300))  # 200 in 20 s, 75 % padding
    write("speed-words-50x0", speed(1.0, 900, building=7.0))
    write("speed-words-50x1", speed(1.0, 900))
    write("speed-lamb-50x0", speed(1.0, 900))  # on short texts: 10 tokens each instead of 20
    for seed, accuracies in ((1, (0.7, 0.8)), (2, (0.7, 0.9)), (3, (0.7, 0.85))):
        curve = [[500, accuracies[0]], [1000, accuracies[1]]]
        write(f"accuracy-stock-{seed}", {"curve": curve})
        better = [[500, 0.86 if seed < 3 else 0.5], [1000, 0.86]]
        write(f"accuracy-adam-{seed}", {"curve": better})
        write(f"accuracy-uniform-{seed}", {"curve": curve})
    write("accuracy-tokens-3", {"curve": [[1000, 0.84]]})
    write("padding", {"texts": 100, "updates": 50, "difference": 2e-6, "logit": 1.5})
    write("pipeline", {"examples": 1000, "seconds": dict.fromkeys(PIPELINE, 0.5)})
    write(
        "predict-200-1x0",
        {
            "forms": {
                "stock": {"seconds": 10.0, "examples": 200},
                "tfbert, float32": {
                    "seconds": 2.0,
                    "examples": 200,
                    "difference": 1e-6,
                    "changed": 3,
                },
            }
        },
    )
    folder = tmp_path / "results" / "sst2-128-minilm-epochs-3"
    folder.mkdir()
    write("setting", {**SETTING, "epochs": 3})
    write("speed-stock-50x0", speed(9.0, 200))
    write("speed-length-50x0", speed(1.0, 200))
    run("--report", "--results", str(tmp_path / "results"), "--docs", str(tmp_path))
    page = (tmp_path / "benchmark_sentiment.md").read_text()
    one, other = page.split("## SST-2, minilm, ")[1:]
    assert one.startswith("1 epoch of 1,000 examples of at most 128 tokens\n")
    assert other.startswith("3 epochs of 1,000 examples")
    assert row_of(other, "+ batches by length")[1] == "9.00"
    assert "All steps" not in other  # not all were measured
    # 0.85 is reached after 1000 examples by two of three seeds of stock, at 10 a second and after
    # 20 seconds.
    page, cells = one, ["10.0", "1.00", "75 %", "0.8500 (± 0.0500)", "2.0"]
    assert row_of(page, "stock:") == cells
    # Trained as the row before it; two of three seeds reach 0.85 after 500, at 100 a second and
    # after 7 seconds. 9 and 11 times stock in the two turns: the square root of 99, and
    # exp(ln 99 / 2 ± 12.7062 x ln(11 / 9) / 2).
    cells = ["100.0", "9.95 (2.78 to 35.60)", "10 %", "0.8600 (± 0.0000)", "0.2"]
    assert row_of(page, "+ the rows of the word table") == cells
    # Against stock's same turn.
    assert row_of(page, "+ 4 times larger batch")[:3] == ["50.0", "4.50", "10 %"]
    assert "| + batches by length" not in page  # nothing was measured
    assert "All steps at stock's batch, *+ the rows of the word table" in page
    assert "times stock; 9 asked, reached, though the interval leaves it open." in page
    assert "0.7258 to 0.9742" in page  # 0.85 ± 4.3027 x 0.05 / sqrt(3)
    assert row_of(page, "tfbert, float32") == ["100.0", "5.00", "1.0e-06", "3"]
    assert row_of(page, "next run") == ["1,000", "10"]
    assert "commits: abc, older ones." in page
    assert "largest difference 2.0e-06, largest logit 1.50" in page
    assert (tmp_path / "benchmark_sentiment.png").read_bytes().startswith(b"\x89PNG")
    shuffling = (tmp_path / "benchmark_shuffling.md").read_text()
    assert row_of(shuffling, "uniform") == ["0.8000", "0.9000", "0.8500", "0.8500 (± 0.0500)", "-"]
    assert row_of(shuffling, "by length")[-1].startswith("+0.0100 (-0.11")
    assert row_of(shuffling, "a budget")[2:] == ["0.8400", "0.8400", "-0.0100"]  # on the same seed


def test_bad_input_is_one_line_and_writes_nothing(tmp_path):
    folders = ("--results", str(tmp_path / "none"), "--docs", str(tmp_path / "docs"))
    lines = run("--report", *folders, status=2).splitlines()
    assert lines[-1] == f"sentiment.py: error: {tmp_path}/none: there are no measurements in it"
    lines = run("--quick", "--steps", "0", *folders, status=2).splitlines()
    assert lines[-1].endswith("argument --steps: 0: it must be at least 1")
    assert not list(tmp_path.iterdir())


PIPELINE = ("tokenize", "tokenize and write the cache", "read the cache", "make batches")


def test_rows_that_nothing_measures_are_refused():
    (line,) = run("--rows", "uniform", "--accuracy", status=2).splitlines()[-1:]
    assert line.endswith("--rows uniform: the other options measure no such row")


@pytest.mark.slow
def test_every_part_runs_and_is_not_measured_again(tmp_path):
    options = ("--quick", "--results", str(tmp_path / "results"), "--docs", str(tmp_path))
    run(*options)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}
    names = {path.stem for path in files}
    assert names >= {"setting", "pipeline", "predict-32-2x1", "speed-lamb-2x1", "accuracy-tokens-1"}
    (cell,) = (path for path in files if path.stem == "padding")
    assert json.loads(cell.read_text())["difference"] < 1e-4
    page = (tmp_path / "benchmark_sentiment.md").read_text()
    run(*options)
    assert (tmp_path / "benchmark_sentiment.md").read_text() == page
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())
    setting = cell.with_name("setting.json")
    setting.write_text(json.dumps({**json.loads(setting.read_text()), "machine": "another"}))
    assert "its numbers are of another machine; give" in run(*options, status=2)


@pytest.mark.slow
def test_a_table_of_ones_own(tmp_path):
    table = tmp_path / "reviews.csv"
    table.write_text("review,mark\n" + "good,1\nbad,0\nfine film,1\n" * 20)
    options = ("--task", "csv", "--text-column", "review", "--label-column", "mark")
    options += ("--max-length", "16", "--batch-size", "4", "--steps", "2", "--rounds", "1")
    folders = ("--results", str(tmp_path / "results"), "--docs", str(tmp_path / "docs"))
    run("--data", str(table), *options, *folders, "--rows", "stock", "length")
    page = (tmp_path / "docs" / "benchmark_sentiment.md").read_text()
    assert "## csv, embedded, 3 epochs of 54 examples of at most 16 tokens" in page
    assert float(row_of(page, "+ batches by length")[0]) > 0
    lines = run("--data", str(table), "--task", "csv", *folders, status=2).splitlines()
    assert lines[-1].startswith("sentiment.py: error: ")
    assert "text" in lines[-1]

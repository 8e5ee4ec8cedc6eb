"""The commands as a user types them, each in a process of its own."""

import json
import os
import resource
import subprocess
import sys

import pytest

ROWS = [("what a lovely film", "good"), ("an awful bore", "bad")] * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("user")
    table = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
    (path / "train.csv").write_text(table)
    (path / "dev.csv").write_text(table)
    return path


def tfbert(folder, *arguments, **options):
    command = [sys.executable, "-m", "tfbert", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


FINETUNE = ["finetune", "--task", "csv", "--data", ".", "--model", "embedded", "--epochs", "6"]


@pytest.fixture(scope="module")
def run(folder):
    done = tfbert(folder, *FINETUNE, "--learning-rate", "1e-3", "--output", "run")
    assert done.returncode == 0, done.stderr
    return done


def test_finetune_prints_its_numbers_and_keeps_progress_apart(run):
    assert run.stdout.startswith("24 examples: accuracy ")
    assert run.stdout.endswith("Run directory: run\n")
    assert "examples/s" in run.stderr
    assert "Traceback" not in run.stderr


def test_evaluate_prints_one_json_object_alone(folder, run):
    done = tfbert(folder, "evaluate", "--model", "run", "--data", "dev.csv", "--json")
    metrics = json.loads(done.stdout)
    assert metrics["examples"] == 24
    assert metrics.keys() >= {"accuracy", "macro_f1", "loss", "per_class"}
    assert (
        metrics["accuracy"] == json.loads((folder / "run" / "metrics.json").read_text())["accuracy"]
    )


def test_predict_reads_standard_input(folder, run):
    done = tfbert(
        folder, "predict", "--model", "run", input="what a lovely film\n\nan awful bore\n"
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == ["what a lovely film", "", "an awful bore"]
    assert [answers[0]["label"], answers[2]["label"]] == ["good", "bad"]


def test_evaluate_finds_the_data_from_another_directory(folder, run, tmp_path):
    done = tfbert(tmp_path, "evaluate", "--model", str(folder / "run"), "--json")
    assert json.loads(done.stdout)["examples"] == 24


def test_a_second_run_is_refused_and_the_first_one_kept(folder, run):
    before = (folder / "run" / "metrics.json").read_text()
    done = tfbert(folder, *FINETUNE, "--output", "run")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "holds another run" in done.stderr
    assert (folder / "run" / "metrics.json").read_text() == before


def test_a_full_disk_is_one_line_and_status_1(folder):
    """A limit on the size of a file stands in for the disk: the weights do not fit, logs do."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    done = tfbert(folder, *FINETUNE, "--no-progress", "--output", "full", preexec_fn=limit)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tfbert: error: cannot write full/model: File too")
    assert "tfbert: no checkpoint at step" in done.stderr  # which alone does not end the run
    assert (folder / "full" / "config.yaml").exists()
    assert not list((folder / "full").rglob(".writing*"))


def test_a_full_disk_under_standard_output_is_one_line(folder, run):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "tfbert", "predict", "--model", "run", "--no-progress"]
        done = subprocess.run(
            command, cwd=folder, input="fine", stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "tfbert: error: [Errno 28] No space left on device"
    assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode_gets_json_all_the_same(folder, run):
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    (folder / "smile.txt").write_text("smile \U0001f600\n", encoding="utf-8")
    done = tfbert(folder, "predict", "--model", "run", "--input", "smile.txt", env=environment)
    assert json.loads(done.stdout)["text"] == "smile \U0001f600"

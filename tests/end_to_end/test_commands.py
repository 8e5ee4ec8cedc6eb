"""The commands as a user types them: one in a process of its own, the others in this one."""

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tfbert.cli import main

REPOSITORY = Path(__file__).parents[2]
ROWS = [("what a lovely film", "good"), ("an awful bore", "bad")] * 12
FINETUNE = ["finetune", "--task", "csv", "--data", ".", "--model", "embedded"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("user")
    table = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
    (path / "train.csv").write_text(table)
    (path / "dev.csv").write_text(table)
    return path


@pytest.fixture(scope="module")
def run(folder):
    """The process that has trained `run`."""
    command = [sys.executable, "-m", "tfbert", *FINETUNE, "--epochs", "6", "--output", "run"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*command, "--learning-rate", "1e-3"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def here(folder, run, monkeypatch):
    """The user's folder, with the run in it, as the working directory."""
    monkeypatch.chdir(folder)
    return folder


def test_finetune_prints_its_numbers_and_keeps_progress_apart(run):
    assert run.stdout.startswith("24 examples: accuracy ")
    assert run.stdout.endswith("Run directory: run\n")
    assert "examples/s" in run.stderr
    assert "Traceback" not in run.stderr


def test_evaluate_prints_one_json_object_alone(here, capsys):
    assert main(["evaluate", "--model", "run", "--data", "dev.csv", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["examples"] == 24
    assert metrics.keys() >= {"accuracy", "macro_f1", "loss", "per_class"}
    assert metrics["accuracy"] == json.loads(Path("run/metrics.json").read_text())["accuracy"]


def test_evaluate_finds_the_data_from_another_directory(here, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--model", str(here / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 24


def test_predict_reads_standard_input(here, capsys, monkeypatch):
    text = b"what a lovely film\n\nan awful bore\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["predict", "--model", "run"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["text"] for answer in answers] == ["what a lovely film", "", "an awful bore"]
    assert [answers[0]["label"], answers[2]["label"]] == ["good", "bad"]


def test_a_second_run_is_refused_and_the_first_one_kept(here, capsys):
    before = Path("run/metrics.json").read_text()
    assert main([*FINETUNE, "--output", "run"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "holds a finished run" in errors
    assert Path("run/metrics.json").read_text() == before


def test_a_full_disk_is_one_line_and_status_1(here, capsys):
    """A limit on the size of a file stands in for the disk: the weights do not fit, logs do."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        status = main([*FINETUNE, "--epochs", "1", "--no-progress", "--output", "full"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    errors = capsys.readouterr().err
    assert status == 1
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("tfbert: error: cannot write full/model: File too")
    assert "tfbert: no checkpoint at step" in errors  # which alone does not end the run
    assert Path("full/config.yaml").exists()
    assert not list(Path("full").rglob(".writing*"))


def test_a_full_disk_under_standard_output_is_one_line(here, capsys, monkeypatch):
    Path("fine.txt").write_text("fine")
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        status = main(["predict", "--model", "run", "--input", "fine.txt", "--no-progress"])
    assert status == 1
    errors = capsys.readouterr().err
    assert errors.splitlines()[-1] == "tfbert: error: [Errno 28] No space left on device"
    assert "Traceback" not in errors


def test_a_terminal_without_unicode_gets_json_all_the_same(here, monkeypatch):
    Path("smile.txt").write_text("smile \U0001f600\n", encoding="utf-8")
    printed = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="latin-1"))
        assert main(["predict", "--model", "run", "--input", "smile.txt"]) == 0
        sys.stdout.flush()
        text = printed.getvalue()
    assert json.loads(text)["text"] == "smile \U0001f600"

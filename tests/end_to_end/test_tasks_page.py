"""What docs/tasks.md shows: its files, its commands, and its problem of one's own."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from helpers.tasks_page import OWN, RUNS, TIMES, commands_of, write_files

from tfbert.cli import main
from tfbert.tasks.known_problems import PROBLEMS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_commands(run, model, capsys):
    """What the commands of a run print, each."""
    printed = []
    for words in commands_of(run, model):
        more = ["--epochs", "2", "--global-batch-size", "4"] if words[0] == "finetune" else []
        status = main([*words, *more, "--no-progress"])
        out, err = capsys.readouterr()
        assert status == 0, err
        printed.append(out)
    return printed


def test_a_problem_of_one_s_own(folder, small_model, capsys, monkeypatch):
    spec = importlib.util.spec_from_file_location("ratings", folder / "ratings.py")
    monkeypatch.setitem(sys.modules, "ratings", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(sys.modules["ratings"])
    try:
        trained, measured, answered = run_commands(OWN, small_model, capsys)
    finally:
        PROBLEMS.pop("ratings")
    metrics = json.loads(Path(OWN, "metrics.json").read_text())
    assert metrics["main_metric"] == "exact"
    assert 0 <= metrics["exact"] <= 1 and 0 <= metrics["mean_distance"] <= 3
    assert f"exact {metrics['exact']:.4f}" in trained and f"{metrics['exact']:.4f}" in measured
    answers = [json.loads(line) for line in answered.splitlines()]
    assert len(answers) == 4 * TIMES
    assert {answer["rating"] for answer in answers} <= {"1", "3", "4", "5"}
    assert answers[0]["text"] == "Dull and far too long." and answers[0]["stars"] == "1"
    assert main(["predict", "--model", OWN, "--input", "stars.csv"]) == 2
    error = capsys.readouterr().err
    assert "the problem is 'ratings'" in error and "tfbert.register_problem" in error


@pytest.mark.slow
@pytest.mark.parametrize("run", [run for run in RUNS if run != OWN])
def test_the_commands_of_the_page(run, folder, small_model, capsys):
    trained, measured, *answered = run_commands(run, small_model, capsys)
    assert "Run directory" in trained
    assert measured.split("\n")[0] in trained
    assert answered
    for lines in answered:
        assert all(json.loads(line) for line in lines.splitlines())

"""Runs of every kind of problem: killed ones go on bitwise, and any division of work is the same.

Their data and commands are those of docs/tasks.md.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import start
from helpers.tasks_page import OWN, RUNS, commands_of, write_files

from tfbert.cli import main, parse
from tfbert.models.trained_model import load_model
from tfbert.runs.finetune import finetune

KINDS = [run for run in RUNS if run != OWN]
OPTIONS = ["--epochs", "2", "--global-batch-size", "4", "--learning-rate", "1e-3", "--no-progress"]
WORKER = Path(__file__).parent / "kill_worker.py"


@pytest.fixture
def command(tmp_path, small_model, monkeypatch):
    """A function that returns the words of a run's `finetune`, with another output."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)

    def make(run, output):
        words = next(commands_of(run, small_model))
        words[words.index("--output") + 1] = output
        return [*words, *OPTIONS]

    return make


def weights_of(run):
    return load_model(run).model.get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("run", KINDS)
def test_a_killed_run_goes_on_bitwise(run, command, capsys):
    often = ["--precision", "float32", "--checkpoint-steps", "2"]
    killed = [*command(run, "killed"), *often]
    process = start([str(WORKER), str(Path.cwd()), "5", *killed])
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -9, errors
    assert not Path("killed/metrics.json").exists()
    for words in (killed, [*command(run, "whole"), *often]):
        assert main(words) == 0, capsys.readouterr().err
    assert "resumed after update" in capsys.readouterr().err
    metrics = [json.loads(Path(name, "metrics.json").read_text()) for name in ("killed", "whole")]
    for each in metrics:
        del each["seconds"]
    assert metrics[0] == metrics[1]
    for one, two in zip(weights_of("killed"), weights_of("whole"), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("run", KINDS)
def test_two_replicas_train_as_one(run, command, no_dropout):
    configs = [
        parse([*command(run, "one"), "--precision", "float32"])[1],
        parse([*command(run, "two"), "--precision", "float32", "--replicas", "2"])[1],
    ]
    results = [finetune(config) for config in configs]
    for name, value in results[0].metrics.items():
        if isinstance(value, float) and name != "seconds":
            assert results[1].metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    one, two = (
        np.concatenate([v.numpy().ravel() for v in result.model.trainable_variables])
        for result in results
    )
    assert np.linalg.norm(one - two) / np.linalg.norm(one) < 1e-4

"""A `tfbert finetune` that is stopped goes on, and only with the same data."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from helpers.pretraining_run import scalars, stopped
from helpers.training_fixtures import TRAINED, quick_options

from tfbert.cli import main, parse
from tfbert.errors import InputError
from tfbert.models.trained_model import load_model
from tfbert.recovery.preemption import Stopped
from tfbert.runs import finetune as finetune_module
from tfbert.runs import scoring
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.finetune import finetune
from tfbert.runs.outputs.status import read_status

# A run as `trained_run`, stopped twice.


@pytest.fixture(scope="module")
def stopped_run(data, small_model, tmp_path_factory):
    """The directory of a run that was stopped in training, with its token cache next to it."""
    folder = tmp_path_factory.mktemp("stopped")
    cache = {"token_cache": str(folder / "cache")}
    options = {**quick_options(data, small_model, folder / "run"), **TRAINED, **cache}
    with stopped(finetune_module.StatusUpdates, 3):
        finetune(FinetuneConfig(**options))
    return folder / "run"


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(
    config, stopped_run, trained_run, monkeypatch, tmp_path
):
    """Also in an evaluation; then by `--resume` alone, and without tokenizing once more."""
    run = tmp_path / "run"
    shutil.copytree(stopped_run, run)
    cache = stopped_run.parent / "cache"
    options = {**TRAINED, "token_cache": str(cache)}
    assert len(list(cache.iterdir())) == 2
    assert read_status(run)["phase"] == "preempted"
    assert read_status(run)["checkpoint"]["step"] == 3

    def refused(*arguments):
        raise AssertionError("tokenized again")

    monkeypatch.setattr("tfbert.tasks.tokens.token_cache.tokenize", refused)
    with stopped(scoring._Interrupted, 8, "on_predict_batch_begin"):
        finetune(config(**options))
    assert read_status(run)["phase"] == "preempted"
    assert read_status(run)["checkpoint"]["step"] == 8
    with pytest.raises(InputError, match=r"--learning-rate was 0\.01, is 0\.5"):
        finetune(config(**{**options, "learning_rate": 0.5}))
    _, resumed = parse(["finetune", "--resume", "--output", str(run)])
    result = finetune(resumed)
    assert result.history == json.loads((trained_run / "history.json").read_text())
    one, two = (load_model(str(path)).model.get_weights() for path in (run, trained_run))
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    curves = [scalars(path / "logs" / "train") for path in (run, trained_run)]
    assert curves[0]["loss"] == curves[1]["loss"]
    other = {**options, "max_length": 15, "output": str(tmp_path / "other")}
    with pytest.raises(AssertionError, match="tokenized again"):
        finetune(config(**other))


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def ctrl_c():
    """Python's own answer to it, which a shell may have switched off for the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_saves_and_the_same_command_goes_on(config, trained_run, tmp_path, capsys, ctrl_c):
    run = tmp_path / "run"
    with stopped(finetune_module.StatusUpdates, 5, error=Stopped, act=interrupt):
        finetune(config(**TRAINED))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert read_status(run)["phase"] == "stopped"
    assert read_status(run)["checkpoint"]["step"] == 5
    assert main(["status", str(run)]) == 0
    shown = capsys.readouterr().out
    assert ": stopped\n" in shown and "the same command goes on from there" in shown
    result = finetune(config(**TRAINED))
    assert result.history == json.loads((trained_run / "history.json").read_text())
    one, two = (load_model(str(path)).model.get_weights() for path in (run, trained_run))
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_other_data_is_not_gone_on_with(config, stopped_run, monkeypatch, tmp_path, data):
    shutil.copytree(stopped_run, tmp_path / "run")
    shutil.copytree(data, tmp_path / "data")
    options = {**TRAINED, "data": str(tmp_path / "data")}
    with monkeypatch.context() as patch, pytest.raises(InputError, match="kind of device was"):
        patch.setattr(finetune_module, "batch_lengths", lambda *_: np.array([128]))  # a TPU's
        finetune(config(**options))
    table = tmp_path / "data" / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    with pytest.raises(InputError, match=r"data was [0-9a-f]{16}, is [0-9a-f]{16}"):
        finetune(config(**options))

"""Pre-training that is interrupted ends as if it had not been."""

import json
import os
import random
import signal
import time

import numpy as np
import pytest
import yaml
from helpers.pretraining_run import PHASES, QUICK, scalars, terminate
from helpers.processes import finish, start
from helpers.training_fixtures import PRETRAINED

from tfbert.cli import parse
from tfbert.errors import InputError
from tfbert.recovery.checkpoint_files import checkpoint_keys, last_written, phase_folder
from tfbert.recovery.checkpoints import Checkpoints, phase_to_resume
from tfbert.recovery.divergence import Diverged, LossWatch
from tfbert.recovery.preemption import Preempted
from tfbert.runs.outputs.pretrain_callbacks import PretrainingCurves
from tfbert.runs.outputs.status import read_status, status_lines
from tfbert.runs.pretrain import pretrain


class Crash(Exception):
    """Stands for the end of the process."""


def steps_in(run, number):
    return [step for step, _ in checkpoint_keys(phase_folder(run / "checkpoints", number))]


def final_state(run):
    """`{name: bytes}`: weights, slots and iterations after the last phase."""
    newest = Checkpoints(phase_folder(run / "checkpoints", 1)).newest()
    return {name: array.tobytes() for name, array in newest.tensors.items()}


def numbers(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name != "seconds"}


def test_a_run_that_is_stopped_three_times(pretrain_config, pretrained_run, tmp_path, monkeypatch):
    """By SIGTERM in the first phase, between the phases, and by a crash in the second one."""
    options, run = PRETRAINED, tmp_path / "run"
    expected = json.loads((pretrained_run / "result.json").read_text())
    heard = []

    def interrupted(method, action, error):
        original = getattr(PretrainingCurves, method)

        def wrapper(self, number, logs=None):
            original(self, number) if logs is None else original(self, number, logs)
            heard.append((method, number))
            action(self, number)

        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(PretrainingCurves, method, wrapper)
            pretrain(pretrain_config(**options))
        assert not (run / "metrics.json").exists()

    def stop(curves, number):
        if curves.model.optimizer.iterations == 3:
            terminate()

    def crash_between(curves, number):
        if number == 1:
            raise Crash

    def crash(curves, number):
        if curves.model.optimizer.iterations == 7:
            raise Crash

    interrupted("on_train_batch_end", stop, Preempted)
    assert heard == [("on_train_batch_end", step) for step in (0, 1, 0)]
    status = read_status(run)
    assert (status["phase"], status["checkpoint"]["step"]) == ("preempted", 3)
    assert "update 2 of 8, phase 1 of 2" in status_lines(run, status, time.time())
    changed = [{**PHASES[0], "learning_rate": 0.5}, PHASES[1]]
    with pytest.raises(InputError, match=r"--phases\.0\.learning-rate was 0\.01, is 0\.5; go on"):
        pretrain(pretrain_config(**options, phases=changed))
    with pytest.raises(InputError, match=r"--eval-steps was 2, is 3"):
        pretrain(pretrain_config(**options, eval_steps=3))

    interrupted("begin_phase", crash_between, Crash)
    assert steps_in(run, 0)[-1] == 5
    assert phase_to_resume(run / "checkpoints", 2) == 0

    heard.clear()
    interrupted("on_train_batch_end", crash, Crash)
    assert heard == [("on_train_batch_end", step) for step in (0, 1)]
    # The first phase's last one stays until there are as many of the second one as are kept.
    assert (steps_in(run, 0), steps_in(run, 1)) == ([5], [6])
    assert read_status(run)["checkpoint"]["step"] == 6

    _, resumed = parse(["pretrain", "--resume", "--output", str(run)])
    result = pretrain(resumed)
    assert result.history == expected["history"]
    assert [len(values) for values in result.history.values()] == [5] * len(result.history)
    assert numbers(run) == numbers(pretrained_run)
    weights = np.load(pretrained_run / "backbone.npz").values()
    for one, two in zip(result.model.backbone.weights, weights, strict=True):
        np.testing.assert_array_equal(one, two)
    assert final_state(run) == final_state(pretrained_run)
    assert not os.path.exists(phase_folder(run / "checkpoints", 0))
    for part, names in (("train", ["mlm_loss", "learning_rate"]), ("evaluation", ["loss"])):
        one, two = (scalars(folder / "logs" / part, again=True) for folder in (run, pretrained_run))
        assert {name: one[name] for name in names} == {name: two[name] for name in names}
    lines = status_lines(run, read_status(run), time.time())
    assert lines[:2] == [f"{run}: finished", "update 8 of 8, phase 2 of 2"]


@pytest.mark.slow
def test_the_command_killed_at_random_moments(records, tmp_path):
    """SIGKILL in both phases, also while a checkpoint is written."""
    phases = [{**PHASES[0], "steps": 9}, {**PHASES[1], "steps": 7}]
    recipe = {**QUICK, "phases": phases, "dropout": 0.1, "checkpoint_steps": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = ["-m", "tfbert", "pretrain", "--recipe", str(tmp_path / "recipe.yaml")]
    command += ["--data", records, "--no-progress", "--output"]
    environment = {"TF_DETERMINISTIC_OPS": "1"}
    finish(start([*command, str(tmp_path / "whole")], **environment), 200)

    run = tmp_path / "run"
    choice = random.Random(2)
    for updates in (2, 4, 9, 10, 13):
        process = start([*command, str(run)], **environment)
        while (last_written(run / "checkpoints") or {"step": 0})["step"] < updates:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(choice.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (run / "metrics.json").exists(), "it was done before it could be killed"
    process = start(["-m", "tfbert", "pretrain", "--resume", "--output", str(run)], **environment)
    finish(process, 200)
    assert numbers(run) == numbers(tmp_path / "whole")
    assert final_state(run) == final_state(tmp_path / "whole")


@pytest.mark.slow
def test_a_divergence_goes_back_to_the_beginning_of_its_phase(pretrain_config, monkeypatch):
    check, calls = LossWatch.check, []

    def diverges_once(self, loss, updates=1):
        calls.append(loss)
        return "it is so" if len(calls) == 6 else check(self, loss, updates)

    monkeypatch.setattr(LossWatch, "check", diverges_once)
    result = pretrain(pretrain_config(on_nan="rollback"))
    assert len(calls) == 8  # the first batch of the second phase is left out
    assert int(result.model.optimizer.iterations) == 7
    with pytest.raises(Diverged, match=r"diverged at update \d+ .*: the loss is"):
        phases = [{**PHASES[0], "learning_rate": 1e38}]
        pretrain(pretrain_config(phases=phases, overwrite=True, optimizer="adamw"))

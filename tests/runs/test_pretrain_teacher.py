"""Runs with `--teacher`: what they write, and that they can be resumed."""

import json
import shutil
from pathlib import Path

import keras_hub
import numpy as np
import pytest
import yaml
from helpers.pretraining_run import PHASES, records_of, scalars, stopped

from tfbert import cli
from tfbert.cli import main
from tfbert.errors import InputError
from tfbert.recovery.checkpoint_files import phase_folder
from tfbert.recovery.checkpoints import Checkpoints
from tfbert.runs.outputs.pretrain_callbacks import PretrainingCurves
from tfbert.runs.pretrain import pretrain
from tfbert.runs.starting import RunResult

# The embedded model, which is wider than the student.
BOTH = {"teacher": "embedded", "teacher_share": 0.5, "num_layers": 1, "dropout": 0.1}


def final_state(run, phase=1):
    checkpoint = Checkpoints(phase_folder(Path(run) / "checkpoints", phase)).newest()
    return {name: array.tobytes() for name, array in checkpoint.tensors.items()}


def test_a_student_that_begins_as_its_teacher(pretrain_config, tmp_path, caplog):
    """Nothing is to be learned: the weights stay. What is written is that of an encoder."""
    caplog.set_level("INFO", "tfbert")
    phases = [{**PHASES[0], "steps": 2, "learning_rate": 1e-30}]
    config = pretrain_config(teacher="embedded", init="embedded", phases=phases, dropout=0.1)
    run = Path(pretrain(config).run_directory)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["val_loss"] == pytest.approx(0, abs=1e-5)
    assert metrics["loss"] > 0.01  # the student alone has dropout
    assert not any("mlm" in name or "nsp" in name for name in metrics)
    assert "teacher: embedded, 3 layers, 384 wide" in caplog.text
    assert "teacher's tokens 0.000, sentences 0.000" in caplog.text
    assert not any(part.name.endswith(".npz") for part in (run / "model").iterdir())
    for part in ("train", "evaluation"):
        curves = scalars(run / "logs" / part)
        assert {"loss", "teacher_tokens_loss", "teacher_sentences_loss"} <= curves.keys()
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert (record["teacher"], record["teacher_share"]) == ("embedded", None)
    assert record["resolved"]["phases"][0]["predictions"] == 0
    names = [name for name in final_state(run, 0) if name.startswith("model/")]
    assert len(names) == len(set(names)) == 4 + 16 * 3 + 3  # embeddings with norm, layers, pooler


@pytest.mark.slow
@pytest.mark.parametrize("staging", [{}, {"staging": "stack", "stages": 2, "num_layers": 2}])
def test_a_run_that_is_stopped_ends_with_the_same_bits(pretrain_config, tmp_path, staging):
    options = {**BOTH, **staging, "checkpoint_steps": 1}
    whole = pretrain(pretrain_config(**options, output=str(tmp_path / "whole")))
    config = pretrain_config(**options)
    for update in (2, 7):
        with stopped(PretrainingCurves, update):
            pretrain(config)
    result = pretrain(config)
    assert result.history == whole.history
    last = 2 if staging else 1
    assert final_state(result.run_directory, last) == final_state(whole.run_directory, last)


@pytest.mark.slow
def test_another_teacher_is_noticed(pretrain_config, small_model, tmp_path):
    folder = shutil.copytree(small_model, tmp_path / "teacher")
    config = pretrain_config(teacher=str(folder), checkpoint_steps=1)
    with stopped(PretrainingCurves, 2):
        pretrain(config)
    backbone = keras_hub.models.Backbone.from_preset(str(folder))
    backbone.embeddings_layer_norm.beta.assign(np.ones(16))
    backbone.save_weights(str(folder / "model.weights.h5"))
    with pytest.raises(InputError, match=r"go on with other options: teacher was \d+, is \d+"):
        pretrain(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bfloat16"},
        {"precision": "float16", "teacher_share": 1.0},
        {"replicas": 2},
        {"device_tokens": 32, "steps_per_execution": 2, "rematerialize": True},
    ],
)
def test_in_every_precision_and_division(pretrain_config, options):
    metrics = pretrain(pretrain_config(**{**BOTH, **options})).metrics
    assert metrics["updates"] == 8
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["val_teacher_sentences_loss"] < 0.9


@pytest.mark.slow
def test_records_without_masks_will_do(pretrain_config, embedded_vocabulary_file, tmp_path):
    text = "A good film.\nA bad film.\nThe actors were fine.\n" * 40
    options = {"lengths": [16], "sequences": "filled", "keep_duplicates": True, "masking": "none"}
    packed = records_of(text, tmp_path, embedded_vocabulary_file, **options)
    with pytest.raises(InputError, match="hold no masks"):
        pretrain(pretrain_config(data=packed, phases=PHASES[:1], **BOTH))
    result = pretrain(pretrain_config(data=packed, phases=PHASES[:1], teacher="embedded"))
    assert result.metrics["updates"] == 5


def test_long_names_of_metrics_stand_apart_from_the_numbers(pretrain_config, monkeypatch, capsys):
    metrics = {"val_teacher_sentences_loss": 0.25, "updates": 1_200}
    result = RunResult(None, {}, metrics, "run")
    monkeypatch.setattr("tfbert.runs.pretrain.pretrain", lambda config: result)
    cli.pretrain(pretrain_config(teacher="embedded"))
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed[:2] == [["val_teacher_sentences_loss", "0.2500"], ["updates", "1,200"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--teacher", "nowhere/model"], "model nowhere/model: no such directory"),
        (["--teacher-share", "0.5"], "--teacher-share is 0.5: it must be left out where there is"),
        (
            ["--teacher", "embedded", "--teacher-share", "1.5"],
            "--teacher-share is 1.5: it must be above 0 and at most 1",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message, tmp_path, capsys):
    command = ["pretrain", "--recipe", "quick", "--data", "d", "--output", str(tmp_path / "run")]
    assert main([*command, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()

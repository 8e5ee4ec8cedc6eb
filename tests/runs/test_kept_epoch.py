"""Which epoch's weights `tfbert finetune` ends with, and when it ends."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from tfbert.errors import TfbertError
from tfbert.models.trained_model import load_model
from tfbert.recovery.preemption import Preempted
from tfbert.runs import finetune as finetune_module
from tfbert.runs.command_options import EvaluateConfig
from tfbert.runs.evaluate import evaluate
from tfbert.runs.finetune import finetune
from tfbert.tasks.problems.classification import Classification

# What evaluations find: (loss, accuracy) after each epoch.
SCRIPT = [(0.5, 0.6), (0.4, 0.8), (0.6, 0.8), (0.7, 0.7), (0.1, 0.9)]


def scripted(config, monkeypatch, script, after=None):
    """Trains with evaluations that find what a script says, and calls `after` in each.

    Returns:
        The `RunResult`, and the head's weights in each evaluation.
    """
    found, seen = iter(script), []
    measure = Classification.measure

    def outputs_of(trained, *arguments, **keywords):
        seen.append(trained.model.output_dense.kernel.numpy())
        if after:
            after(len(seen), seen[-1])
        return next(found)

    def scripted_measure(self, outputs, *arguments):
        if isinstance(outputs, tuple):
            return dict(zip(("loss", "accuracy"), outputs, strict=True))
        return measure(self, outputs, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(finetune_module, "predict_examples", outputs_of)
        patch.setattr(Classification, "measure", scripted_measure)
        return finetune(config), seen


def measured(result):
    """Accuracy and loss of a run's saved model on the evaluation examples, measured anew."""
    metrics = evaluate(EvaluateConfig(model=result.run_directory, progress=False))
    return metrics["accuracy"], metrics["loss"]


def test_the_best_epoch_is_kept_and_named(config, monkeypatch, caplog):
    """Its weights and numbers are saved; of equal accuracies, the lower loss decides."""
    script = [(0.5, 0.8), (0.4, 0.8), (0.3, 0.7)]
    with caplog.at_level("INFO", "tfbert"):
        result, seen = scripted(config(epochs=3, max_length=8), monkeypatch, script)
    line = "kept epoch 2 of 3: evaluation accuracy 0.8000, that of the last is 0.7000"
    assert caplog.messages[-1].startswith(line)
    kernel = load_model(result.run_directory).model.output_dense.kernel.numpy()
    np.testing.assert_array_equal(kernel, seen[1])
    assert not np.array_equal(seen[1], seen[2])
    written = json.loads((Path(result.run_directory) / "metrics.json").read_text())
    assert (written["kept_epoch"], written["epochs"]) == (2, 3)
    assert (written["accuracy"], written["loss"]) == pytest.approx(measured(result), rel=1e-5)


@pytest.mark.parametrize(
    ("which", "kept", "line"),
    [
        # The first of equal epochs is found again, in the checkpoints.
        ("best", 1, "kept epoch 1 of 3: evaluation accuracy 0.9000, that of the last is 0.8000"),
        ("last", 3, "kept epoch 3 of 3: evaluation accuracy 0.8000, that of epoch 1 is 0.9000"),
    ],
)
def test_a_run_that_was_stopped_keeps_the_same_epoch(
    config, monkeypatch, caplog, which, kept, line
):
    options = {"epochs": 3, "max_length": 8, "keep_epoch": which}
    script = [(0.4, 0.9), (0.4, 0.9), (0.3, 0.8)]
    heads = []

    def stop(evaluation, head):
        heads.append(head)
        if evaluation == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted):
        scripted(config(**options), monkeypatch, script, stop)
    with caplog.at_level("INFO", "tfbert"):
        result, seen = scripted(config(**options), monkeypatch, script[1:])
    assert len(heads) == len(seen) == 2
    np.testing.assert_array_equal(heads[1], seen[0])
    expected = heads[0] if kept == 1 else seen[1]
    saved = load_model(result.run_directory).model.output_dense.kernel.numpy()
    np.testing.assert_array_equal(saved, expected)
    assert result.metrics["kept_epoch"] == kept
    assert caplog.messages[-1].startswith(line)


def test_early_stopping_keeps_the_best_weights(config, monkeypatch):
    result, seen = scripted(config(epochs=5, early_stopping=2, max_length=8), monkeypatch, SCRIPT)
    assert len(seen) == 4
    assert result.metrics["kept_epoch"] == 2
    np.testing.assert_array_equal(result.model.output_dense.kernel.numpy(), seen[1])


def test_divergence_is_one_line_and_the_old_run_stays(
    config, trained_run, trained_metrics, tmp_path
):
    shutil.copytree(trained_run, tmp_path / "run")
    with pytest.raises(
        TfbertError, match=r"training diverged at .*the learning rate.* is too high"
    ):
        finetune(config(overwrite=True, learning_rate=1e38, early_stopping=1, epochs=3))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == trained_metrics

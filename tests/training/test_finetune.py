import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from tfbert.errors import InputError, MachineError, TfbertError
from tfbert.models.classifier import load_classifier
from tfbert.models.sources import load_encoder
from tfbert.optimizers.loss_scale import LossScaleOptimizer
from tfbert.training import finetune as finetune_module
from tfbert.training.finetune import finetune


def scalars(directory):
    """{tag: [(step, value)]} of the event files in a directory."""
    found = {}
    for path in sorted(Path(directory).glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                point = (event.step, float(tf.make_ndarray(value.tensor)))
                found.setdefault(value.tag, []).append(point)
    return found


def test_the_run_directory_holds_everything(trained_run):
    run = Path(trained_run.run_directory)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["task"] == "csv"
    assert config["labels"] == ["negative", "positive"]
    assert config["resolved"]["max_length"] == 128
    assert config["resolved"]["precision"] in ("bfloat16", "float32")
    assert json.loads((run / "metrics.json").read_text()) == trained_run.metrics
    assert trained_run.metrics["examples"] == 13
    assert trained_run.metrics["epochs"] == len(trained_run.history["loss"]) == 2
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        "last.weights.h5",
        "best.weights.h5",
    }
    assert not list(run.rglob(".writing*"))


def test_the_curves(trained_run):
    logs = Path(trained_run.run_directory) / "logs"
    train, evaluation = scalars(logs / "train"), scalars(logs / "evaluation")
    assert train.keys() >= {"loss", "accuracy", "learning_rate", "examples_per_second"}
    # 60 examples in batches of 8 are 8 updates an epoch.
    assert [step for step, _ in train["loss"]] == [8, 16]
    np.testing.assert_allclose(
        [value for _, value in evaluation["loss"]], trained_run.history["val_loss"], rtol=1e-6
    )
    assert train["learning_rate"][1][1] == pytest.approx(0.0, abs=1e-9)


def test_the_saved_model_is_the_trained_one(trained_run):
    loaded = load_classifier(trained_run.run_directory)
    ours = {v.path: v.numpy() for v in trained_run.model.trainable_variables}
    for variable in loaded.model.trainable_variables:
        np.testing.assert_array_equal(variable.numpy(), ours[variable.path])


def test_the_same_seed_gives_the_same_run_and_another_does_not(config, trained_run):
    first, second = (
        finetune(config(output=config().output + str(seed), seed=seed, **changes)).history["loss"]
        for seed, changes in ((1, {"epochs": 2, "precision": "auto"}), (2, {"epochs": 1}))
    )
    np.testing.assert_allclose(first, trained_run.history["loss"], rtol=1e-3)
    assert abs(second[0] / first[0] - 1) > 1e-3


def test_it_learns_from_its_own_training_data(config, data):
    changes = {"epochs": 12, "eval_data": str(data / "train.csv")}
    result = finetune(config(**changes))
    assert result.metrics["accuracy"] > 0.95


def test_two_replicas_train_and_measure_like_one(config, monkeypatch):
    """Without dropout the updates are the same, whichever device sees an example."""
    monkeypatch.setattr(keras.layers.Dropout, "call", lambda self, inputs, training=False: inputs)
    runs = []
    for replicas in (1, 2):
        options = config(output=config().output + str(replicas), replicas=replicas, epochs=2)
        runs.append(finetune(options))
    for name in ("accuracy", "loss", "macro_f1"):
        assert runs[0].metrics[name] == pytest.approx(runs[1].metrics[name], rel=1e-4)
    ours, theirs = (
        np.concatenate([v.numpy().ravel() for v in run.model.trainable_variables]) for run in runs
    )
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(ours) < 1e-4


@pytest.mark.parametrize(
    ("precision", "optimizer", "replicas"), [("bfloat16", "lamb", 1), ("float16", "adamw", 2)]
)
def test_mixed_precision_keeps_variables_and_logits_in_float32(
    config, precision, optimizer, replicas
):
    before = {v.path: v.numpy() for v in load_encoder("embedded", "float32").backbone.variables}
    result = finetune(config(precision=precision, optimizer=optimizer, replicas=replicas))
    layer = result.model.backbone.transformer_layers[0]
    assert layer.compute_dtype == precision
    assert {v.dtype for v in result.model.trainable_variables} == {"float32"}
    assert result.model.output_dense.compute_dtype == "float32"
    assert np.isfinite(result.history["loss"]).all()
    assert isinstance(result.model.optimizer, LossScaleOptimizer) == (precision == "float16")
    moved = [np.abs(v.numpy() - before[v.path]).max() for v in layer.trainable_variables]
    assert min(moved) > 0
    assert np.isfinite(moved).all()


def test_frozen_layers_stay_and_the_others_move(config):
    before = {v.path: v.numpy() for v in load_encoder("embedded", "float32").backbone.variables}
    model = finetune(config(freeze_layers=1)).model
    for variable in model.backbone.variables:
        if "seed_generator" in variable.path:
            continue
        moved = not np.array_equal(variable.numpy(), before[variable.path])
        assert moved == variable.path.startswith(("transformer_layer_1", "pooled")), variable.path


def test_weight_decay_leaves_biases_and_norms_alone(config, monkeypatch):
    """With gradients of zero, decay is all that moves a weight."""
    monkeypatch.setattr(
        keras.losses.SparseCategoricalCrossentropy,
        "call",
        lambda self, y, logits: 0.0 * logits[:, 0],
    )
    before = {v.path: v.numpy() for v in load_encoder("embedded", "float32").backbone.variables}
    model = finetune(config(weight_decay=0.5)).model
    for variable in model.backbone.trainable_variables:
        moved = not np.array_equal(variable.numpy(), before[variable.path])
        assert moved != variable.path.endswith(("gamma", "beta", "bias")), variable.path


def test_early_stopping_keeps_the_best_weights(config, monkeypatch):
    losses = iter([0.5, 0.4, 0.6, 0.7, 0.1])
    seen = []

    class Losses(finetune_module.EpochWeights):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = next(losses)
            seen.append(self.model.output_dense.kernel.numpy())
            super().on_epoch_end(epoch, logs)

    monkeypatch.setattr(finetune_module, "EpochWeights", Losses)
    result = finetune(config(epochs=5, early_stopping=2))
    assert len(seen) == 4
    np.testing.assert_array_equal(result.model.output_dense.kernel.numpy(), seen[1])


def test_class_weights(config):
    ids, labels = np.array([0, 0, 0, 1]), ["a", "b"]
    assert finetune_module._class_weights("none", ids, labels).tolist() == [1, 1]
    balanced = finetune_module._class_weights("balanced", ids, labels)
    np.testing.assert_allclose(balanced, [2 / 3, 2])
    # All the weight on one class: the model names no other.
    metrics = finetune(config(class_weights=[1000.0, 0.001], epochs=3)).metrics
    assert metrics["per_class"]["negative"]["recall"] == 1.0
    with pytest.raises(InputError, match="--class-weights has 3 numbers for 2 labels"):
        finetune(config(output=config().output + "2", class_weights=[1.0, 1.0, 1.0]))


def test_truncation_is_reported(config, caplog):
    with caplog.at_level("INFO", "tfbert"):
        finetune(config(max_length=8))
    assert "training texts are longer than 8 tokens and were cut:" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 129}, "--max-length 129: the model ends at 128 tokens"),
        ({"freeze_layers": 3}, "the model has only 2 layers"),
        ({"model": "nowhere"}, "no such directory, and no BERT preset"),
        ({"data": "/nonexistent"}, "no such file or folder"),
        ({"label_column": "humour"}, "no column 'humour'"),
    ],
)
def test_bad_input_is_found_before_anything_is_written(config, changes, message):
    options = config(**changes)
    with pytest.raises(InputError, match=message):
        finetune(options)
    assert not Path(options.output).exists()


def test_bad_input_leaves_the_run_that_it_should_overwrite(config, trained_run, tmp_path):
    (tmp_path / "run").symlink_to(trained_run.run_directory)
    with pytest.raises(InputError, match="holds another run"):
        finetune(config())
    with pytest.raises(InputError, match="no such directory"):
        finetune(config(overwrite=True, model="nowhere"))
    assert (tmp_path / "run" / "metrics.json").exists()


def test_divergence_is_one_line_and_the_old_run_stays(config, trained_run, tmp_path):
    shutil.copytree(trained_run.run_directory, tmp_path / "run")
    with pytest.raises(TfbertError, match=r"diverged in epoch 1: .*lower --learning-rate"):
        finetune(config(overwrite=True, learning_rate=1e38, early_stopping=1, epochs=3))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == trained_run.metrics


def test_exhausted_memory_comes_with_a_hint(config, monkeypatch):
    def fit(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(MachineError, match=r"8 x 128 tokens: try --batch-size 4, --max-length 64"):
        finetune(config())


def test_a_run_can_start_from_a_run(config, trained_run):
    result = finetune(config(model=trained_run.run_directory))
    assert result.metrics["examples"] == 13

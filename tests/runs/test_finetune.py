import json
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

from tfbert.cli import parse
from tfbert.errors import InputError, MachineError, TfbertError
from tfbert.models.classifier import BertClassifier, load_classifier
from tfbert.models.dropout import Dropout
from tfbert.models.sources import load_encoder
from tfbert.optimizers.loss_scale import LossScaleOptimizer
from tfbert.recovery.preemption import Preempted
from tfbert.runs import finetune as finetune_module
from tfbert.runs.finetune import finetune
from tfbert.runs.status import read_status


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
        "step-0000000008",
        "step-0000000016",
    }
    assert read_status(run)["phase"] == "finished"
    assert read_status(run)["step"] == 16
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


def test_the_division_of_the_work_does_not_matter(config, monkeypatch):
    """Without dropout the updates are the same, whichever device sees an example, and when."""
    monkeypatch.setattr(keras.layers.Dropout, "call", lambda self, inputs, training=False: inputs)
    monkeypatch.setattr(Dropout, "draw_seed", lambda self, training: None)
    runs = []
    divided = {
        "replicas": 2,
        "per_device_batch_size": 2,
        "steps_per_execution": 4,
        "rematerialize": True,
    }
    for name, options in (("one", {}), ("two", divided)):
        runs.append(finetune(config(output=config().output + name, epochs=2, **options)))
    assert (
        yaml.safe_load((Path(runs[1].run_directory) / "config.yaml").read_text())["resolved"][
            "accumulate_steps"
        ]
        == 2
    )
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

    def evaluate(self, *arguments):
        seen.append(self.output_dense.kernel.numpy())
        return {"loss": next(losses)}

    monkeypatch.setattr(BertClassifier, "_evaluate", evaluate)
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
        ({"tokens_per_batch": 100}, "--tokens-per-batch 100: a single text may have 128 tokens"),
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
    with pytest.raises(
        TfbertError, match=r"training diverged at .*the learning rate.* is too high"
    ):
        finetune(config(overwrite=True, learning_rate=1e38, early_stopping=1, epochs=3))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == trained_run.metrics


def test_a_preempted_run_goes_on(config, monkeypatch, tmp_path):
    """Two ends by SIGTERM, one of them in an evaluation; then by `--resume` alone."""
    options = {"epochs": 2, "early_stopping": 2}
    expected = finetune(config(output=str(tmp_path / "expected"), **options))
    for method, at in (("on_train_batch_end", 3), ("on_test_batch_end", 8)):
        with monkeypatch.context() as patch:

            def end(self, batch, logs=None, at=at):
                if self.model.optimizer.iterations == at:
                    os.kill(os.getpid(), signal.SIGTERM)

            patch.setattr(finetune_module.StatusUpdates, method, end, raising=False)
            with pytest.raises(Preempted):
                finetune(config(**options))
        assert read_status(tmp_path / "run")["phase"] == "preempted"
        assert read_status(tmp_path / "run")["checkpoint"]["step"] == at
    with pytest.raises(InputError, match=r"--learning-rate was 0\.001, is 0\.5"):
        finetune(config(learning_rate=0.5, **options))
    _, resumed = parse(["finetune", "--resume", "--output", str(tmp_path / "run")])
    result = finetune(resumed)
    assert result.history == expected.history
    for one, two in zip(result.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    curves = [scalars(tmp_path / name / "logs" / "train") for name in ("run", "expected")]
    assert curves[0]["loss"] == curves[1]["loss"]


@pytest.mark.slow
def test_batches_of_tokens(config, monkeypatch, tmp_path, data):
    """The rate ends at 0, a killed run goes on, and the division of the work does not matter."""
    monkeypatch.setattr(keras.layers.Dropout, "call", lambda self, inputs, training=False: inputs)
    monkeypatch.setattr(Dropout, "draw_seed", lambda self, training: None)
    options = {"epochs": 2, "tokens_per_batch": 256}
    expected = finetune(config(output=str(tmp_path / "expected"), **options))
    updates = int(expected.model.optimizer.iterations)
    assert updates % 2 == 0
    curves = scalars(tmp_path / "expected" / "logs" / "train")
    assert [step for step, _ in curves["loss"]] == [updates // 2, updates]
    assert curves["learning_rate"][-1][1] == pytest.approx(0.0, abs=1e-9)

    at = updates // 2 + 3
    with monkeypatch.context() as patch:

        def end(self, batch, logs=None):
            if self.model.optimizer.iterations == at:
                os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(finetune_module.StatusUpdates, "on_train_batch_end", end)
        with pytest.raises(Preempted):
            finetune(config(**options))
    assert read_status(tmp_path / "run")["checkpoint"]["step"] == at
    resumed = finetune(config(**options, replicas=2))  # which `--resume` may change
    np.testing.assert_allclose(resumed.history["loss"], expected.history["loss"], rtol=1e-4)
    for one, two in zip(resumed.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.fixture
def begun(config, monkeypatch):
    """A function that begins a run: its model and batches, without any training."""
    seen = []

    def fit(model, batches, **options):
        seen.append((model, batches))
        raise InputError("enough seen")

    def begin(**changes):
        with pytest.raises(InputError, match="enough seen"):
            finetune(config(**changes, overwrite=True))
        return seen.pop()

    monkeypatch.setattr(BertClassifier, "fit", fit)
    return begin


def test_padding_to_the_maximum(begun):
    _, by_length = begun(max_length=32)
    _, padded = begun(max_length=32, pad_to_max_length=True)
    assert by_length.lengths.tolist() == [8, 16, 24, 32]
    assert padded.lengths.tolist() == [32]
    # Shuffled without regard to length.
    order = np.random.default_rng((1, 0)).permutation(60)
    expected = {frozenset(order[i : i + 8]) for i in range(0, 60, 8)}
    assert {frozenset(batch) for batch in padded.batches.epoch(0)} == expected


def test_dropout_is_the_model_s_or_another(begun):
    own, none = (begun(dropout=rate)[0].backbone for rate in (None, 0.0))
    assert own.dropout == 0.1
    assert none.dropout == 0.0
    rates = {part.rate for part in none._flatten_layers() if isinstance(part, Dropout)}
    assert rates <= {0.0}
    for one, two in zip(own.weights, none.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_xla_gets_few_lengths(begun):
    for jit_compile, lengths in ((True, [32, 64, 96, 128]), (False, list(range(8, 129, 8)))):
        model, batches = begun(jit_compile=jit_compile)
        assert model.jit_compile is jit_compile
        assert batches.lengths.tolist() == lengths


def test_a_part_of_the_training_examples(begun):
    _, batches = begun(train_examples=20)
    _, again = begun(train_examples=20, seed=2)
    assert len(batches.texts) == 20
    np.testing.assert_array_equal(batches.texts.values, again.texts.values)
    assert len(begun(train_examples=1000)[1].texts) == 60


def test_a_second_run_on_the_same_data_does_not_tokenize(config, monkeypatch, tmp_path):
    cache = {"token_cache": str(tmp_path / "cache"), "max_length": 16}
    first = finetune(config(output=str(tmp_path / "first"), **cache))

    def refused(*arguments):
        raise AssertionError("tokenized again")

    monkeypatch.setattr("tfbert.tasks.token_cache.tokenize", refused)
    assert finetune(config(**cache)).history == first.history
    assert len(list((tmp_path / "cache").iterdir())) == 2
    with pytest.raises(AssertionError, match="tokenized again"):
        finetune(config(output=str(tmp_path / "third"), **{**cache, "max_length": 15}))


def test_other_data_is_not_gone_on_with(config, monkeypatch, tmp_path, data):
    def end(self, epoch, logs=None):
        os.kill(os.getpid(), signal.SIGTERM)

    shutil.copytree(data, tmp_path / "data")
    options = {"data": str(tmp_path / "data"), "epochs": 2}
    with monkeypatch.context() as patch, pytest.raises(Preempted):
        patch.setattr(finetune_module.StatusUpdates, "on_epoch_end", end)
        finetune(config(**options))
    with monkeypatch.context() as patch, pytest.raises(InputError, match="kind of device was"):
        patch.setattr(finetune_module, "lengths_for", lambda *_: np.array([128]))  # a TPU's
        finetune(config(**options))
    table = tmp_path / "data" / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    with pytest.raises(InputError, match=r"data was [0-9a-f]{16}, is [0-9a-f]{16}"):
        finetune(config(**options))


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({}, "8 x 128 tokens: try --per-device-batch-size 4, --rematerialize, --max-length 64"),
        ({"tokens_per_batch": 512}, "4 x 128 tokens: try --tokens-per-batch 256, --remat"),
        # It is at its least.
        ({"tokens_per_batch": 128}, "1 x 128 tokens: try --rematerialize, --max-length 64"),
    ],
)
def test_exhausted_memory_comes_with_a_hint(config, monkeypatch, options, hint):
    def fit(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(BertClassifier, "fit", fit)
    with pytest.raises(MachineError, match=hint):
        finetune(config(**options))


def test_a_run_can_start_from_a_run(config, trained_run):
    result = finetune(config(model=trained_run.run_directory))
    assert result.metrics["examples"] == 13

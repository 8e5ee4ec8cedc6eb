"""`tfbert finetune`: most of these tests look at one of two finished runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from helpers.pretraining_run import scalars, stopped
from helpers.training_fixtures import TRAINED, quick_options
from tokenizers import BertWordPieceTokenizer

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError, MachineError
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import weights_by_path
from tfbert.models.layers.dropout import Dropout
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import load_model
from tfbert.optimizers.loss_scale import LossScaleOptimizer
from tfbert.runs import finetune as finetune_module
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.finetune import finetune
from tfbert.runs.outputs.status import read_status


def encoder_weights(model):
    weights = weights_by_path(load_encoder(str(model), "float32").backbone)
    return {path: variable.numpy() for path, variable in weights.items()}


# The run of `trained_run`: LAMB in bfloat16, one device.


def test_the_run_directory_holds_everything(trained_run, trained_metrics):
    config = yaml.safe_load((trained_run / "config.yaml").read_text())
    assert config["task"] == "csv"
    assert config["labels"] == ["negative", "positive"]
    assert config["resolved"]["max_length"] == 128
    assert config["resolved"]["precision"] == "bfloat16"
    history = json.loads((trained_run / "history.json").read_text())
    assert trained_metrics["examples"] == 13
    assert trained_metrics["epochs"] == len(history["loss"]) == 2
    assert {path.name for path in (trained_run / "checkpoints").iterdir()} == {
        "step-0000000008",
        "step-0000000016",
    }
    assert read_status(trained_run)["phase"] == "finished"
    assert read_status(trained_run)["step"] == 16
    assert not list(trained_run.rglob(".writing*"))


def test_the_curves(trained_run):
    history = json.loads((trained_run / "history.json").read_text())
    train, evaluation = (scalars(trained_run / "logs" / part) for part in ("train", "evaluation"))
    assert train.keys() >= {"loss", "accuracy", "learning_rate", "examples_per_second"}
    # 60 examples in batches of 8 are 8 updates an epoch.
    assert list(train["loss"]) == [8, 16]
    np.testing.assert_allclose(list(evaluation["loss"].values()), history["val_loss"], rtol=1e-6)
    assert np.isfinite(history["loss"]).all()
    assert train["learning_rate"][16] == pytest.approx(0.0, abs=1e-9)


def test_every_weight_moves(trained_run, small_model):
    before = encoder_weights(small_model)
    for path, value in encoder_weights(trained_run).items():
        if path.startswith("transformer_layer"):
            assert np.isfinite(value).all(), path
            assert not np.array_equal(value, before[path]), path


# A run that starts from that run: AdamW in float16, two devices, a frozen layer, weighted classes.


@pytest.fixture(scope="module")
def second_run(data, trained_run, tmp_path_factory):
    """The `RunResult`."""
    options = quick_options(data, trained_run, tmp_path_factory.mktemp("second") / "run")
    changes = {"precision": "float16", "optimizer": "adamw", "replicas": 2, "freeze_layers": 1}
    # All the weight on one class.
    changes |= {"class_weights": [1.0, 1e-6], "epochs": 3}
    return finetune(FinetuneConfig(**{**options, **changes}))


def test_metrics_and_the_saved_model_are_those_of_the_trained_one(second_run):
    run = Path(second_run.run_directory)
    assert json.loads((run / "metrics.json").read_text()) == second_run.metrics
    assert second_run.metrics["examples"] == 13
    loaded = load_model(second_run.run_directory)
    ours = {v.path: v.numpy() for v in second_run.model.trainable_variables}
    assert len(ours) > 10
    for variable in loaded.model.variables:
        if variable.path in ours:
            np.testing.assert_array_equal(variable.numpy(), ours[variable.path])


def test_mixed_precision_keeps_variables_and_logits_in_float32(second_run, begun):
    assert np.isfinite(second_run.history["loss"]).all()
    for model, dtype in (
        (second_run.model, "float16"),
        (begun(precision="bfloat16")[0], "bfloat16"),
    ):
        assert model.backbone.transformer_layers[1].compute_dtype == dtype
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
        assert model.output_dense.compute_dtype == "float32"
        assert isinstance(model.optimizer, LossScaleOptimizer) == (dtype == "float16")


def test_frozen_layers_stay_and_the_others_move(second_run, trained_run):
    before = encoder_weights(trained_run)
    for variable in second_run.model.backbone.variables:
        if "seed_generator" in variable.path:
            continue
        assert np.isfinite(variable.numpy()).all()
        moved = not np.array_equal(variable.numpy(), before[variable.path])
        assert moved == variable.path.startswith(("transformer_layer_1", "pooled")), variable.path


def test_class_weights(second_run, begun):
    assert second_run.metrics["per_class"]["negative"]["recall"] == 1.0
    _, batches = begun(class_weights="balanced")
    ids = batches.targets.values
    expected = 60 / (2 * np.bincount(ids))
    np.testing.assert_allclose(batches.targets.weights, expected[ids])


# Runs of their own.


def test_it_learns_from_its_own_training_data(config, data):
    changes = {"epochs": 6, "eval_data": str(data / "train.csv"), "learning_rate": 2e-4}
    result = finetune(config(model="embedded", **changes))
    assert result.metrics["accuracy"] > 0.95


@pytest.mark.slow
def test_the_division_of_the_work_does_not_matter(config, no_dropout):
    """Without dropout the updates are the same, whichever device sees an example, and when."""
    runs = []
    divided = {
        "replicas": 2,
        "per_device_batch_size": 2,
        "steps_per_execution": 4,
        "rematerialize": True,
    }
    for name, options in (("one", {}), ("two", divided)):
        options = {"learning_rate": 1e-3, **options}
        runs.append(finetune(config(output=config().output + name, epochs=2, **options)))
    record = yaml.safe_load((Path(runs[1].run_directory) / "config.yaml").read_text())
    assert record["resolved"]["accumulate_steps"] == 2
    for name in ("accuracy", "loss", "macro_f1"):
        assert runs[0].metrics[name] == pytest.approx(runs[1].metrics[name], rel=1e-4)
    ours, theirs = (
        np.concatenate([v.numpy().ravel() for v in run.model.trainable_variables]) for run in runs
    )
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(ours) < 1e-4


@pytest.mark.slow
def test_batches_of_tokens(config, no_dropout, tmp_path, data):
    """The rate ends at 0, a killed run goes on, and the division of the work does not matter."""
    options = {"epochs": 2, "tokens_per_batch": 256, "learning_rate": 1e-3}
    expected = finetune(config(output=str(tmp_path / "expected"), **options))
    updates = int(expected.model.optimizer.iterations)
    assert updates % 2 == 0
    curves = scalars(tmp_path / "expected" / "logs" / "train")
    assert list(curves["loss"]) == [updates // 2, updates]
    assert curves["learning_rate"][updates] == pytest.approx(0.0, abs=1e-9)

    at = updates // 2 + 3
    with stopped(finetune_module.StatusUpdates, at):
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


def test_another_seed_is_another_run(begun):
    (one, first), (two, second) = (begun(seed=seed) for seed in (1, 2))
    assert not np.array_equal(one.output_dense.kernel.numpy(), two.output_dense.kernel.numpy())
    assert [b.tolist() for b in first.batches.epoch(0)] != [
        b.tolist() for b in second.batches.epoch(0)
    ]
    assert (one.seed, two.seed) == (1, 2)  # of dropout


def test_the_division_of_the_work_is_as_asked_for(begun):
    options = {"replicas": 2, "per_device_batch_size": 2, "steps_per_execution": 4}
    model, _ = begun(**options, rematerialize=True)
    assert model.distribute_strategy.num_replicas_in_sync == 2
    assert (model.accumulate_steps, model.steps_per_execution) == (2, 4)
    assert model.backbone.rematerialize


def test_attention_has_a_rate_of_dropout_of_its_own(begun):
    model, _ = begun(dropout=0.2, attention_dropout=0.0)
    assert (model.backbone.dropout, model.backbone.attention_dropout) == (0.2, 0.0)


def test_truncation_is_reported(begun, data, caplog):
    with caplog.at_level("INFO", "tfbert"):
        begun(max_length=8)
    reference = BertWordPieceTokenizer(str(MODEL_DIRECTORY / "assets/tokenizer/vocabulary.txt"))
    with (data / "train.csv").open(newline="") as file:
        lengths = [len(reference.encode(row["review"]).ids) for row in csv.DictReader(file)]
    count = sum(length > 8 for length in lengths)
    assert 0 < count < 60
    assert f"training: {count} of 60 texts are longer than 8 tokens and were cut," in caplog.text


def test_weight_decay_leaves_biases_and_norms_alone(begun):
    """With gradients of zero, decay is all that moves a weight."""
    model, _ = begun(weight_decay=0.5, warmup_fraction=0.0)
    before = {v.path: v.numpy() for v in model.trainable_variables}
    model.optimizer.build(model.trainable_variables)
    model.optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables])
    for variable in model.backbone.trainable_variables:
        moved = not np.array_equal(variable.numpy(), before[variable.path])
        assert moved != variable.path.endswith(("gamma", "beta", "bias")), variable.path


@pytest.mark.parametrize(("norm", "expected"), [(None, 1.0), (0.5, 0.5), (0, None)])
def test_gradients_are_clipped_as_in_berts_own_fine_tuning(begun, norm, expected):
    options = {} if norm is None else {"max_grad_norm": norm}
    model, _ = begun(**options)
    assert model.optimizer.max_grad_norm == expected


def test_bad_input_leaves_the_run_that_it_should_overwrite(config, trained_run, tmp_path):
    (tmp_path / "run").symlink_to(trained_run)
    with pytest.raises(InputError, match=r"holds a finished run .*cannot go on with more epochs"):
        finetune(config(**{**TRAINED, "epochs": 3}))
    with pytest.raises(InputError, match="no such directory"):
        finetune(config(overwrite=True, model="nowhere"))
    assert (tmp_path / "run" / "metrics.json").exists()


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

import dataclasses
import json
import math

import keras
import keras_hub
import numpy as np
import pytest
import yaml
from helpers.google_records import write_like_google
from helpers.pretraining_run import PHASES, QUICK, records_of, scalars
from helpers.training_fixtures import PRETRAINED

from tfbert.cli import main
from tfbert.errors import InputError
from tfbert.models.sources import load_encoder
from tfbert.recipes.phase_model import make_new_model
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.description import read_dataset
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_records
from tfbert.runs.pretrain import pretrain
from tfbert.text.counting.documents import count_texts
from tfbert.text.counting.embeddings import document_embeddings
from tfbert.text.counting.neighbours import count_neighbours, factorize


@pytest.fixture
def config(pretrain_config):
    """A function that makes a configuration of a quick run."""
    return pretrain_config


def test_a_run_from_records_to_a_model_that_finetune_takes(pretrained_run):
    run = pretrained_run
    metrics = json.loads((run / "metrics.json").read_text())
    result = json.loads((run / "result.json").read_text())
    history = result["history"]
    assert metrics == result["metrics"]
    assert (metrics["updates"], metrics["sequences"]) == (8, 5 * 8 + 3 * 4)
    # Evaluations after 2, 4 and 5 updates of the first phase, 2 and 3 of the second.
    assert len(history["val_mlm_loss"]) == 5
    assert metrics["val_mlm_loss"] == history["val_mlm_loss"][-1]
    assert 0 < metrics["val_mlm_loss"] < 2 * math.log(8_000)

    record = yaml.safe_load((run / "config.yaml").read_text())
    assert [phase["predictions"] for phase in record["resolved"]["phases"]] == [3, 4]
    options = {**QUICK, **PRETRAINED, "data": record["data"], "output": str(run)}
    assert PretrainConfig.from_recipe(str(run / "config.yaml")) == PretrainConfig(**options)

    encoder = load_encoder(str(run), "float32")
    assert encoder.tokenizer.vocabulary.pieces[:2] == ("[PAD]", "[UNK]")
    stock = keras_hub.models.Backbone.from_preset(str(run / "model"))
    trained = np.load(run / "backbone.npz").values()
    for variable, expected in zip(stock.weights, trained, strict=True):
        np.testing.assert_array_equal(variable, expected)

    curves = scalars(run / "logs" / "train")
    for name in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy", "gradient_norm"):
        assert sorted(curves[name]) == [2, 4, 5, 7, 8], name
    for name in ("mean_trust_ratio", "tokens_per_second", "sequences_per_second", "mfu"):
        assert all(value > 0 for value in curves[name].values()), name
    # Linear decay in each phase: update 2 of 5, and update 2 of 3.
    assert curves["learning_rate"][2] == pytest.approx(0.01 * 4 / 5)
    assert curves["learning_rate"][7] == pytest.approx(0.005 * 2 / 3)
    held_out = scalars(run / "logs" / "evaluation")
    assert held_out["mlm_loss"][8] == pytest.approx(metrics["val_mlm_loss"], rel=1e-5)


def weights_after(config):
    model = pretrain(config).model
    return np.concatenate([np.ravel(variable) for variable in model.trainable_variables])


@pytest.mark.slow
def test_the_division_of_a_batch_does_not_matter(config, two_replicas):
    whole = weights_after(config(overwrite=True))
    start = weights_after(config(overwrite=True, phases=[{**PHASES[0], "learning_rate": 1e-30}]))
    pieces = [{**phase, "per_device_batch_size": 2} for phase in PHASES]
    moved = np.linalg.norm(whole - start)
    assert moved > 0
    for options in ({"phases": pieces, "steps_per_execution": 2}, {"replicas": 2}):
        divided = weights_after(config(overwrite=True, **options))
        assert np.linalg.norm(divided - whole) / np.linalg.norm(whole) < 1e-5
    # Other batches give other weights: what agrees is not the lack of training.
    other = weights_after(config(overwrite=True, seed=2))
    assert np.linalg.norm(other - whole) > 0.1 * moved


def test_it_learns(config):
    phase = {
        "sequence_length": 16,
        "global_batch_size": 32,
        "steps": 120,
        "learning_rate": 0.04,
        "warmup": 0.1,
    }
    options = {"eval_steps": 60, "eval_sequences": 64, "num_layers": 1}
    history = pretrain(config(phases=[phase], **options)).history
    assert history["val_mlm_loss"][-1] < 0.9 * math.log(8_000)
    assert history["mlm_loss"][1] < history["mlm_loss"][0]


@pytest.mark.slow
def test_going_on_from_a_model(config, tmp_path):
    first = pretrain(config())
    again = {"init": first.run_directory, "output": str(tmp_path / "second")}
    phases = [{**PHASES[0], "steps": 1, "learning_rate": 1e-30}]
    second = pretrain(config(**again, phases=phases))
    for a, b in zip(first.model.weights, second.model.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7, err_msg=a.path)
    embedded = pretrain(config(init="embedded", output=str(tmp_path / "third"), phases=phases))
    assert embedded.model.backbone.hidden_dim == 384


@pytest.mark.slow
def test_records_without_pairs_or_held_out_text(embedded_vocabulary_file, tmp_path, config):
    text = "A good film.\nA bad film.\nThe actors were fine.\n" * 40
    options = {"lengths": [16], "sequences": "filled", "keep_duplicates": True}
    options["validation_fraction"] = 0.0
    packed = records_of(text, tmp_path, embedded_vocabulary_file, **options)
    result = pretrain(config(data=packed, phases=PHASES[:1]))
    assert not any("nsp" in name or name.startswith("val") for name in result.metrics)
    # Its heads are continued from, the missing one is new.
    changes = {"init": result.run_directory, "output": str(tmp_path / "pairs"), "phases": PHASES}
    assert "nsp_loss" in pretrain(config(**changes)).metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "/nonexistent"}, "no such file or folder"),
        ({"phases": [{**PHASES[0], "sequence_length": 32}]}, "no records of length 32"),
        ({"phases": [{**PHASES[0], "global_batch_size": 7}], "replicas": 2}, "7 cannot be divided"),
        ({"phases": [{**PHASES[0], "per_device_batch_size": 3}]}, "8 is not a multiple of"),
        ({"phases": [{**PHASES[0], "freeze_layers": 3}]}, "freeze-layers is 3: .* only 2 layers"),
        ({"init": "/nonexistent"}, "no such directory"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(config, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        pretrain(config(**change))
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_of_another_vocabulary_is_refused(config, tmp_path):
    size = {"vocabulary_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 8}
    backbone = keras_hub.models.BertBackbone(**size, intermediate_dim=8)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
    backbone.save_to_preset(str(tmp_path / "other"))
    keras_hub.models.BertTokenizer(pieces).save_to_preset(str(tmp_path / "other"))
    with pytest.raises(InputError, match="has another vocabulary than the records"):
        pretrain(config(init=str(tmp_path / "other")))


def test_records_of_another_program_train_alike(
    records, pretrain_config, embedded_vocabulary_file, tmp_path
):
    """The same sequences as Google's script would write them, masks fixed."""
    folder = tmp_path / "googles"
    folder.mkdir()
    for length in (16, 24):
        whole = PretrainingRecords(open_records(records, length), 64, seed=3)
        write_like_google(folder / f"{length}.tfrecord", whole.batch(0))
    with pytest.raises(InputError, match="give --vocab"):
        pretrain(pretrain_config(data=str(folder)))
    vocab = str(embedded_vocabulary_file)
    result = pretrain(pretrain_config(data=str(folder), vocab=vocab))
    assert result.metrics["updates"] == 8
    assert all(np.isfinite(value) for value in result.metrics.values())
    pieces = load_encoder(result.run_directory, "float32").tokenizer.vocabulary.pieces
    assert list(pieces) == embedded_vocabulary_file.read_text().splitlines()


@pytest.mark.parametrize(
    "kind", ["cooccurrence", pytest.param("documents", marks=pytest.mark.slow)]
)
def test_the_command_begins_with_counts(records, tmp_path, capsys, kind):
    """One update at a rate of next to nothing: the weights are those before training."""
    arguments = ["--data", records, "--output", str(tmp_path / "run"), "--no-progress"]
    phase = ["--phases.0.sequence-length", "16", "--phases.0.steps=1", "--dropout", "0"]
    phase += ["--phases.0.learning-rate=1e-30", "--embeddings", kind]
    size = ["--num-layers=1", "--hidden-dim", "16", "--num-heads=1"]
    batch = ["--phases.0.global-batch-size=4"]
    assert main(["pretrain", "--recipe", "quick", *arguments, *phase, *size, *batch]) == 0
    printed = capsys.readouterr().out
    assert "mlm_loss" in printed
    assert printed.endswith(f"Run directory: {tmp_path / 'run'}\n")

    trained = load_encoder(str(tmp_path / "run"), "float32").backbone
    trained = np.array(trained.token_embedding.embeddings)
    config = PretrainConfig.from_recipe(str(tmp_path / "run" / "config.yaml"))
    source = open_records(records, 16)
    options = read_dataset(records)["options"]
    train = PretrainingRecords(source, 4)

    def begun(embeddings, freeze_layers=0):
        keras.utils.set_random_seed(config.seed)
        phases = [dataclasses.replace(config.phases[0], freeze_layers=freeze_layers)]
        changed = dataclasses.replace(config, embeddings=embeddings, phases=phases)
        model, _ = make_new_model(changed, options, train, "float32", 1)
        return np.array(model.backbone.token_embedding.embeddings)

    np.testing.assert_allclose(trained, begun(kind), atol=1e-7)
    random, special = begun("random"), source.vocabulary.is_special()
    if kind == "documents":  # counted in the longest sequences
        train = PretrainingRecords(open_records(records, 24), 4)
    near = count_neighbours(train.sequences(), special)
    if kind == "documents":
        texts = count_texts(train.sequences(), special, source.vocabulary.sep)
        counted = document_embeddings(texts, near, 16, config.seed)
    else:
        counted = factorize(near, 16, config.seed)
    known = counted.any(axis=1)
    assert 100 < known.sum() < len(known)
    np.testing.assert_allclose(trained[known], counted[known] * random.std(), rtol=1e-3)
    np.testing.assert_allclose(trained[~known], random[~known], atol=1e-7)
    assert not known[special].any()
    if kind == "documents":  # ten times as long where they are not trained
        frozen = begun(kind, freeze_layers=1)[known]
        np.testing.assert_allclose(frozen, 10 * counted[known] * random.std(), rtol=1e-3)

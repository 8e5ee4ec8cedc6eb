"""Every kind of BERT in every form against what transformers computed with it."""

import json

import numpy as np
import pytest
from helpers.foreign_models import (
    KINDS,
    VARIANTS,
    copy_variant,
    reference,
    state_of,
    write_keras_h5,
    write_model_garden,
    write_tensorflow1,
)
from safetensors.numpy import save_file

from tfbert.models.pretrainer import load_pretrainer
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import load_model

ENCODERS = [kind for kind in KINDS if kind != "float16"]


def assert_same_encoder(folder, kind):
    inputs, expected = reference(kind)
    encoder = load_encoder(str(folder), "float32")
    outputs = encoder.backbone(inputs)
    for name in ("sequence_output", "pooled_output"):
        if name in expected:
            np.testing.assert_allclose(outputs[name], expected[name], atol=1e-4)
    return encoder


def assert_same_heads(folder, kind):
    inputs, expected = reference(kind)
    model, _ = load_pretrainer(str(folder))
    everywhere = np.broadcast_to(np.arange(9, dtype="int32"), (3, 9))
    outputs = model({**inputs, "mask_positions": everywhere})
    for name in {"mlm", "nsp"} & expected.keys():
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-4)


def assert_same_classifier(folder, kind):
    inputs, expected = reference(kind)
    classifier = load_model(str(folder))
    logits, given = np.asarray(classifier.model(inputs)), expected["logits"]
    if logits.ndim == 3:  # padding is told apart by ours alone
        logits, given = (part[inputs["padding_mask"] == 1] for part in (logits, given))
    np.testing.assert_allclose(logits, given, atol=1e-4)
    return classifier


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_encoder_computes_what_transformers_computes(kind):
    encoder = assert_same_encoder(VARIANTS / kind, kind)
    assert np.abs(reference(kind)[1]["sequence_output"]).max() > 1
    stored = json.loads((VARIANTS / kind / "reference.json").read_text("utf-8"))
    ids = encoder.tokenizer.encode([text.replace("[MASK]", "") for text in stored["texts"]])
    for ours, theirs in zip(ids, stored["ids"], strict=True):
        assert [encoder.tokenizer.cls_token_id, *ours, encoder.tokenizer.sep_token_id] == theirs


@pytest.mark.parametrize("kind", ["pretraining", "pretraining_tanh", "masked_lm", "next_sentence"])
def test_pretraining_heads_compute_what_transformers_computes(kind, caplog):
    with caplog.at_level("INFO", "tfbert"):
        assert_same_heads(VARIANTS / kind, kind)
    assert ("has no masked-LM head" in caplog.text) == (kind == "next_sentence")
    assert ("has no next-sentence head" in caplog.text) == (kind == "masked_lm")
    assert ("has no pooler" in caplog.text) == (kind == "masked_lm")


@pytest.mark.parametrize("kind", ["classifier", "float16"])
def test_classifiers_have_their_labels(kind):
    classifier = assert_same_classifier(VARIANTS / kind, kind)
    assert classifier.labels == ["bad", "fair", "good"]
    if kind == "classifier":
        assert (classifier.max_length, classifier.model.dropout) == (10, 0.25)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [("multilabel", "multilabel"), ("regression", "regression"), ("tagger", "tagging")],
)
def test_heads_of_other_problems(kind, problem):
    trained = assert_same_classifier(VARIANTS / kind, kind)
    assert trained.problem.name == problem
    assert trained.labels == ([] if kind == "regression" else ["bad", "fair", "good"])


def test_spans(tmp_path):
    assert_same_spans(VARIANTS / "spans")
    assert_same_spans(write_keras_h5("spans", tmp_path / "h5"))


def assert_same_spans(folder):
    inputs, expected = reference("spans")
    trained = load_model(str(folder))
    assert trained.problem.name == "span"
    logits = np.asarray(trained.model(inputs))
    is_token = inputs["padding_mask"] == 1
    for column, name in enumerate(("starts", "ends")):
        np.testing.assert_allclose(
            logits[..., column][is_token], expected[name][is_token], atol=1e-4
        )
    assert (logits[~is_token] < -1e8).all()


def test_the_checkpoint_of_run_squad(tmp_path):
    trained = load_model(str(write_tensorflow1("spans", tmp_path / "model")))
    assert trained.problem.name == "span"
    kernel = state_of("spans")["qa_outputs.weight"].T
    np.testing.assert_array_equal(trained.model.output_dense.kernel, kernel)


def test_minilm(real_data):
    if not (real_data / "minilm").exists():
        pytest.skip(f"needs {real_data / 'minilm'}")
    golden = dict(np.load(VARIANTS / "minilm.npz"))
    encoder = load_encoder(str(real_data / "minilm"), "float32")
    ids = np.zeros_like(golden["token_ids"])
    for row, text in zip(ids, encoder.tokenizer.encode(list(golden["texts"])), strict=True):
        row[: len(text) + 2] = [
            encoder.tokenizer.cls_token_id,
            *text,
            encoder.tokenizer.sep_token_id,
        ]
    np.testing.assert_array_equal(ids, golden["token_ids"])
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": (ids != 0) * 1}
    vectors = encoder.backbone(inputs)["sequence_output"][:, 0]
    np.testing.assert_allclose(vectors, golden["vectors"], atol=1e-4)


def test_the_names_of_2018_and_a_wrapper_s_prefix(tmp_path):
    folder = copy_variant("pretraining", tmp_path / "model", without=["*.safetensors"])
    state = {
        "model."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in state_of("pretraining").items()
    }
    save_file(state, folder / "weights.safetensors")
    assert_same_encoder(folder, "pretraining")
    assert_same_heads(folder, "pretraining")


@pytest.mark.parametrize("kind", ["pretraining_tanh"])
def test_tensorflow_1(kind, tmp_path):
    folder = write_tensorflow1(kind, tmp_path / "model")
    encoder = assert_same_encoder(folder, kind)
    assert not encoder.tokenizer.lowercase  # the vocabulary has capital letters
    assert_same_encoder(folder / "bert_model.ckpt", kind)
    assert_same_heads(folder, kind)


@pytest.mark.parametrize("numbered", [True, False])
def test_model_garden(numbered, tmp_path, caplog):
    kind = "pretraining_tanh"
    folder = write_model_garden(kind, tmp_path / "model", numbered)
    assert_same_encoder(folder, kind)
    inputs, expected = reference(kind)
    with caplog.at_level("INFO", "tfbert"):
        model, _ = load_pretrainer(str(folder))
    assert "has no next-sentence head" in caplog.text and "masked-LM" not in caplog.text
    everywhere = np.broadcast_to(np.arange(9, dtype="int32"), (3, 9))
    outputs = model({**inputs, "mask_positions": everywhere})
    np.testing.assert_allclose(outputs["mlm"], expected["mlm"], atol=1e-4)


def test_keras_h5(tmp_path):
    assert_same_heads(write_keras_h5("pretraining", tmp_path / "heads"), "pretraining")
    folder = write_keras_h5("classifier", tmp_path / "classifier")
    assert assert_same_classifier(folder, "classifier").labels == ["bad", "fair", "good"]


def test_a_fine_tuned_tensorflow_1_checkpoint_has_numbers_for_labels(tmp_path):
    classifier = load_model(str(write_tensorflow1("classifier", tmp_path / "model")))
    assert classifier.labels == ["0", "1", "2"]
    kernel = state_of("classifier")["classifier.weight"].T
    np.testing.assert_array_equal(classifier.model.output_dense.kernel, kernel)


def test_one_token_type_serves_pairs(tmp_path):
    inputs, _ = reference("encoder_without_pooler")
    backbone = load_encoder(str(VARIANTS / "encoder_without_pooler"), "float32").backbone
    assert backbone.num_segments == 1
    pairs = {**inputs, "segment_ids": np.ones_like(inputs["segment_ids"])}
    expected = backbone(inputs)["sequence_output"]
    np.testing.assert_array_equal(backbone(pairs)["sequence_output"], expected)

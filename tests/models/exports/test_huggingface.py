import json
import pathlib

import ml_dtypes
import numpy as np
import pytest
from helpers.export_models import TEXTS
from helpers.small_encoder import assert_same_weights
from helpers.transformers_weights import assign_weights
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tfbert.errors import InputError
from tfbert.models.encoder import BertEncoder
from tfbert.models.exports.huggingface import (
    write_encoder,
    write_pretrainer,
    write_trained,
)
from tfbert.models.pretrainer import BertPretrainer, load_pretrainer
from tfbert.models.sources import Encoder, load_encoder
from tfbert.models.trained_model import load_model
from tfbert.runs.export import export
from tfbert.runs.export_options import ExportConfig

VARIANTS = pathlib.Path(__file__).parents[1] / "golden" / "variants"
VARIANTS = sorted(path.parent for path in VARIANTS.glob("*/config.json"))


def read(folder):
    config = json.loads((folder / "config.json").read_text())
    files = folder.glob("*.safetensors")
    return config, {name: value for file in files for name, value in load_file(file).items()}


@pytest.fixture(scope="module")
def reference():
    """`{name: array}` of a `BertForPreTraining` that transformers made."""
    path = pathlib.Path(__file__).parents[1] / "golden" / "transformers_pretraining.npz"
    with np.load(path) as file:
        return {
            name.removeprefix("weights/"): file[name]
            for name in file.files
            if name.startswith("weights/")
        }


@pytest.fixture
def pretrainer(reference):
    backbone = BertEncoder(
        vocabulary_size=50,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=12,
    )
    model = BertPretrainer(backbone)
    assign_weights(model, reference)
    return model


@pytest.mark.parametrize("next_sentence", [True, False])
def test_weights_have_the_names_and_values_of_transformers(
    pretrainer, reference, small_vocabulary_tokenizer, tmp_path, next_sentence
):
    if not next_sentence:
        pretrainer = BertPretrainer(pretrainer.backbone, next_sentence=False)
        assign_weights(pretrainer, reference)
    write_pretrainer(pretrainer, small_vocabulary_tokenizer, tmp_path)
    config, weights = read(tmp_path)
    assert config["architectures"] == ["BertForPreTraining" if next_sentence else "BertForMaskedLM"]
    assert config["hidden_act"] == "gelu_pytorch_tanh"
    # Not written: the table that is the embeddings', the bias that is the head's, a buffer.
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    expected = reference.keys() - tied - {"bert.embeddings.position_ids"}
    if not next_sentence:
        expected = {name for name in expected if "seq_relationship" not in name}
    assert weights.keys() == expected
    for name, value in weights.items():
        np.testing.assert_array_equal(value, reference[name], name)
    again, tokenizer = load_pretrainer(str(tmp_path), next_sentence=next_sentence)
    assert_same_weights(again, pretrainer)
    assert tokenizer.vocabulary.pieces == small_vocabulary_tokenizer.vocabulary.pieces


def test_a_classifier_out_and_in_again(small_classifier, tmp_path):
    write_trained(small_classifier, tmp_path)
    config, _ = read(tmp_path)
    assert config["label2id"] == {"bad": 0, "good": 1, "so so": 2}
    again = load_model(str(tmp_path))
    assert_same_weights(again.model, small_classifier.model)
    assert again.labels == small_classifier.labels
    assert again.max_length == small_classifier.max_length
    ours, theirs = small_classifier.model.backbone, again.model.backbone
    assert (theirs.activation, theirs.layer_norm_epsilon) == (
        ours.activation,
        ours.layer_norm_epsilon,
    )
    for one, other in zip(
        again.tokenizer.encode(TEXTS), small_classifier.tokenizer.encode(TEXTS), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda path: path.name)
def test_what_transformers_wrote_goes_out_as_it_came_in(variant, tmp_path):
    export(ExportConfig(model=str(variant), format="huggingface", output=str(tmp_path / "out")))
    config, weights = read(tmp_path / "out")
    original, expected = read(variant)
    keys = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"]
    keys += ["intermediate_size", "max_position_embeddings", "type_vocab_size", "layer_norm_eps"]
    assert [config[key] for key in keys] == [original[key] for key in keys]
    assert (config["hidden_act"] == "gelu") == (original["hidden_act"] == "gelu")
    if "id2label" in config:
        assert config["id2label"] == original["id2label"]
    for name, value in weights.items():
        if name in expected or f"bert.{name}" in expected:  # a pooler may be new
            theirs = expected.get(name, expected.get(f"bert.{name}"))
            np.testing.assert_array_equal(value, theirs.astype(np.float32), name)
    # Heads of other kinds stay behind, and nothing else does.
    others = (
        ("qa_outputs.", "classifier.", "cls.") if config["architectures"] == ["BertModel"] else ()
    )
    left = {name.removeprefix("bert.") for name in expected if not name.startswith(others)}
    assert left <= {name.removeprefix("bert.") for name in weights}


def test_an_encoder_alone_has_names_without_a_prefix(small_classifier, tmp_path):
    encoder = Encoder(small_classifier.model.backbone, small_classifier.tokenizer)
    write_encoder(encoder, tmp_path)
    config, weights = read(tmp_path)
    assert config["architectures"] == ["BertModel"]
    assert "embeddings.word_embeddings.weight" in weights
    assert_same_weights(load_encoder(str(tmp_path), "float32").backbone, encoder.backbone)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_the_size(small_classifier, tmp_path, dtype):
    write_trained(small_classifier, tmp_path, dtype)
    config, weights = read(tmp_path)
    assert config["dtype"] == dtype
    kernel = np.asarray(small_classifier.model.output_dense.kernel).T
    expected = kernel.astype({"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[dtype])
    np.testing.assert_array_equal(weights["classifier.weight"], expected)


def test_a_weight_beyond_the_range_of_float16(pretrainer, small_vocabulary_tokenizer, tmp_path):
    pretrainer.nsp_head.bias.assign([1e5, 0])
    with pytest.raises(InputError, match=r"nsp_head/bias has a value of 100000.*take bfloat16"):
        write_pretrainer(pretrainer, small_vocabulary_tokenizer, tmp_path, "float16")


def test_the_tokenizer_of_transformers(small_classifier, tmp_path):
    write_trained(small_classifier, tmp_path)
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ours = small_classifier.tokenizer
    texts = [text for text in TEXTS if "[" not in text]
    for text, ids in zip(texts, ours.encode(texts), strict=True):
        assert theirs.encode(text).ids == [ours.cls_token_id, *ids, ours.sep_token_id]
    assert ours.mask_token_id in theirs.encode("a [MASK].").ids
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == small_classifier.max_length
    assert settings["do_lower_case"] is settings["strip_accents"] is True


@pytest.mark.slow
def test_transformers_opens_it(small_classifier, pretrainer, small_vocabulary_tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_trained(small_classifier, tmp_path / "a")
    label = transformers.pipeline("text-classification", str(tmp_path / "a"))
    texts = [text for text in TEXTS if "[" not in text]
    answers = label(texts, truncation=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "a")
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits.numpy()
    names = ("token_ids", "segment_ids", "padding_mask")
    keys = ("input_ids", "token_type_ids", "attention_mask")
    ours = small_classifier.model(
        {name: inputs[key].numpy() for name, key in zip(names, keys, strict=True)}
    )
    np.testing.assert_allclose(logits, ours, atol=1e-5)
    labels = [small_classifier.labels[number] for number in logits.argmax(-1)]
    assert [answer["label"] for answer in answers] == labels
    write_pretrainer(pretrainer, small_vocabulary_tokenizer, tmp_path / "b")
    _, report = transformers.AutoModelForPreTraining.from_pretrained(
        tmp_path / "b", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]

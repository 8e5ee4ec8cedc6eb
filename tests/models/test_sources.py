import json
import shutil
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
from helpers.small_encoder import assert_same_weights, move_weights
from helpers.transformers_weights import state_dictionary
from safetensors.numpy import save_file

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.whole import FINISHED_FILE, replacing, write_bytes
from tfbert.models.sources import load_encoder, resolve_source
from tfbert.tasks.batching import collate, padded_lengths
from tfbert.tasks.tokenization import tokenize
from tfbert.text.vocabulary import SPECIAL_TOKENS

TEXTS = [
    "a charming , funny and quietly moving film .",
    "the plot makes no sense , the jokes fall flat and the ending is an insult to the audience .",
    "unflinchingly bleak and desperate",
]


def test_the_embedded_model():
    encoder = load_encoder("embedded", "mixed_bfloat16")
    assert encoder.backbone.dtype_policy.name == "mixed_bfloat16"
    assert encoder.backbone.vocabulary_size == len(encoder.tokenizer.vocabulary) == 8000
    assert encoder.tokenizer.strip_accents


def write_hugging_face_model(directory, hidden_act):
    """A BERT in Hugging Face's form, and the same one in KerasHub's."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
    )
    move_weights(backbone, 0.1)
    save_file(state_dictionary(backbone), directory / "model.safetensors")
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": 30,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "intermediate_size": 16,
        "max_position_embeddings": 12,
        "hidden_act": hidden_act,
    }
    (directory / "config.json").write_text(json.dumps(config))
    pieces = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxy"]
    (directory / "vocab.txt").write_text("\n".join(pieces) + "\n")
    (directory / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    return backbone


@pytest.mark.parametrize(("hidden_act", "warned"), [("gelu", True), ("gelu_new", False)])
def test_a_hugging_face_directory(tmp_path, caplog, hidden_act, warned):
    expected = write_hugging_face_model(tmp_path, hidden_act)
    with caplog.at_level("INFO", "tfbert"):
        encoder = load_encoder(str(tmp_path), "float32")
    assert ("erf GELU" in caplog.text) == warned
    assert encoder.tokenizer.strip_accents
    ids = np.arange(24).reshape(2, 12).astype("int32")
    inputs = {"token_ids": ids, "segment_ids": ids % 2, "padding_mask": (ids != 11) * 1}
    for name, output in encoder.backbone(inputs).items():
        np.testing.assert_allclose(output, expected(inputs)[name], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no config.json in it"),
        (lambda path: (path / "config.json").write_text("{}"), r"pickled .* are not read"),
        (
            lambda path: [
                (path / "config.json").write_text('{"model_type": "bert"}'),
                (path / "model.safetensors").write_bytes(b"cut"),
            ],
            "cannot be loaded: .*check that the files are a complete BERT",
        ),
        (lambda path: (path / "config.yaml").write_text("a: 1"), "an unfinished run"),
    ],
)
def test_an_incomplete_directory_is_named(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        load_encoder(str(tmp_path), "float32")


def test_unknown_names_and_files(tmp_path):
    with pytest.raises(InputError, match=r"no BERT preset of that name.*bert_tiny_en_uncased"):
        resolve_source("bert_huge")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; give the model's directory"):
        resolve_source(str(tmp_path / "file"))


@pytest.mark.parametrize("source", ["bert_tiny_en_uncased", "hf://google/bert"])
def test_an_unreachable_hub_is_one_line(monkeypatch, source):
    def refuse(*arguments, **options):
        raise OSError("name or service not known\nand forty lines more")

    monkeypatch.setattr("kagglehub.model_download", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(InputError) as error:
        load_encoder(source, "float32")
    assert str(error.value) == (
        f"model {source}: cannot be loaded: name or service not known; "
        "check the name and the network, or give a local directory"
    )


def test_the_source_of_a_run_is_its_model(tmp_path):
    (tmp_path / "config.yaml").write_text("task: embedded\n")
    (tmp_path / "model").symlink_to(MODEL_DIRECTORY)
    assert load_encoder(str(tmp_path), "float32").backbone.num_layers == 2


def test_a_model_on_gs_is_copied_once(object_store):
    run = as_path("gs://bucket/run")
    write_bytes(run / "config.yaml", b"task: embedded")
    with pytest.raises(InputError, match="an unfinished run"):
        resolve_source(str(run))
    with replacing(run / "model") as temporary:
        shutil.copytree(MODEL_DIRECTORY, temporary)
    local = resolve_source(str(run))
    config = "config.json"
    assert (Path(local) / config).read_bytes() == (MODEL_DIRECTORY / config).read_bytes()
    assert resolve_source(str(run / "model")) == local
    encoder = load_encoder(str(run), "float32")
    assert_same_weights(encoder.backbone, load_encoder("embedded", "float32").backbone)
    (run / "model" / FINISHED_FILE).unlink()
    with pytest.raises(InputError, match="an unfinished run"):
        resolve_source(str(run))
    with pytest.raises(InputError, match="no such folder"):
        resolve_source("gs://bucket/none")


def test_tanh_gelu_moves_the_outputs_of_minilm_by_a_few_thousandths(real_data, caplog):
    """The README's number: weights made for erf GELU, run with BERT's tanh GELU."""
    if not (real_data / "minilm").exists():
        pytest.skip(f"needs {real_data / 'minilm'}")
    with caplog.at_level("INFO", "tfbert"):
        encoder = load_encoder(str(real_data / "minilm"), "float32")
    assert "erf GELU" in caplog.text
    tokens = tokenize(encoder.tokenizer, TEXTS, 64)
    inputs = collate(tokens, np.arange(len(TEXTS)), padded_lengths(64))
    real = inputs["padding_mask"].astype(bool)
    ours = np.asarray(encoder.backbone(inputs)["sequence_output"])[real]
    for layer in encoder.backbone.transformer_layers:
        layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    theirs = np.asarray(encoder.backbone(inputs)["sequence_output"])[real]
    moved = np.abs(ours - theirs).max()
    print(f"largest difference: {moved:.1e}")
    assert 1e-4 < moved < 5e-3

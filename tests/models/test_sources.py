import json
import shutil
from pathlib import Path

import keras_hub
import numpy as np
import pytest

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.whole import FINISHED_FILE, replacing, write_bytes
from tfbert.models.sources import load_encoder, resolve_source


def test_the_embedded_model():
    encoder = load_encoder("embedded", "mixed_bfloat16")
    assert encoder.backbone.dtype_policy.name == "mixed_bfloat16"
    assert encoder.backbone.vocabulary_size == encoder.tokenizer.vocabulary_size() == 8000
    assert encoder.tokenizer.strip_accents


def write_hugging_face_model(directory, hidden_act):
    """A BERT in Hugging Face form, its tensors made by hand from KerasHub's."""
    from safetensors.numpy import save_file

    config = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    backbone = keras_hub.models.BertBackbone(vocabulary_size=30, max_sequence_length=12, **config)
    layer = backbone.transformer_layers[0]
    attention = layer._self_attention_layer

    def dense(name, kernel, bias, rows):
        kernel = kernel.numpy().reshape(rows, -1).T
        return {f"{name}.weight": kernel.copy(), f"{name}.bias": bias.numpy().reshape(-1)}

    def norm(name, layer):
        return {f"{name}.weight": layer.gamma.numpy(), f"{name}.bias": layer.beta.numpy()}

    prefix = "encoder.layer.0"
    tensors = {
        "embeddings.word_embeddings.weight": backbone.token_embedding.embeddings.numpy(),
        "embeddings.position_embeddings.weight": (
            backbone.position_embedding.position_embeddings.numpy()
        ),
        "embeddings.token_type_embeddings.weight": backbone.segment_embedding.embeddings.numpy(),
        **norm("embeddings.LayerNorm", backbone.embeddings_layer_norm),
        **norm(f"{prefix}.attention.output.LayerNorm", layer._self_attention_layer_norm),
        **norm(f"{prefix}.output.LayerNorm", layer._feedforward_layer_norm),
        **dense("pooler.dense", backbone.pooled_dense.kernel, backbone.pooled_dense.bias, rows=8),
    }
    for theirs, ours, rows in (
        ("attention.self.query", attention._query_dense, 8),
        ("attention.self.key", attention._key_dense, 8),
        ("attention.self.value", attention._value_dense, 8),
        ("attention.output.dense", attention._output_dense, 8),
        ("intermediate.dense", layer._feedforward_intermediate_dense, 8),
        ("output.dense", layer._feedforward_output_dense, 16),
    ):
        tensors |= dense(f"{prefix}.{theirs}", ours.kernel, ours.bias, rows)
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(
        json.dumps(
            {
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
        )
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *"abcdefghijklmnopqrstuvwxy"]
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
    expected = load_encoder("embedded", "float32")
    for ours, theirs in zip(encoder.backbone.weights, expected.backbone.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (run / "model" / FINISHED_FILE).unlink()
    with pytest.raises(InputError, match="an unfinished run"):
        resolve_source(str(run))
    with pytest.raises(InputError, match="no such folder"):
        resolve_source("gs://bucket/none")

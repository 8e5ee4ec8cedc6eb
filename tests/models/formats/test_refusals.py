"""What is not a BERT, is damaged or is hostile: one line that names it, and nothing executed."""

import json
import os
import pickle

import h5py
import numpy as np
import pytest
from helpers.foreign_models import (
    copy_variant,
    state_of,
    write_keras_h5,
    write_tensorflow1,
)
from safetensors.numpy import save_file

from tfbert.errors import InputError
from tfbert.models.sources import load_encoder, resolve_source
from tfbert.models.trained_model import load_model


def assert_refused(folder, match, load=load_encoder):
    with pytest.raises(InputError, match=match) as error:
        load(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_type": "distilbert"}, r"config\.json: a distilbert model"),
        ({"model_type": "xlm-roberta"}, "a xlm-roberta model"),
        ({"model_type": "modernbert"}, "a modernbert model"),
        ({"architectures": ["RobertaModel"]}, "a RobertaModel .architectures., not a BERT"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', where BERT has GELU"),
        ({"hidden_act": "quick_gelu"}, "hidden_act is 'quick_gelu'"),
        ({"hidden_act": ["gelu"]}, r"hidden_act is \['gelu'\]"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"position_embedding_type": "alibi"}, "'alibi'"),
        ({"rope_theta": 10000.0}, "rope_theta says rotary positions"),
        ({"is_decoder": True}, "is_decoder says a decoder"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"quantization_config": {"bits": 8}}, "quantization_config says quantized"),
        ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map says code of its own"),
        ({"embedding_size": 4}, "embedding_size 4 differs from hidden_size"),
        ({"num_attention_heads": 3}, "num_attention_heads 3 does not divide hidden_size 8"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"layer_norm_eps": -1}, "layer_norm_eps is -1"),
        ({"hidden_dropout_prob": 2}, "hidden_dropout_prob is 2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configurations_of_something_else(tmp_path, changes, match):
    folder = copy_variant("pretraining", tmp_path / "model", **changes)
    assert_refused(folder, match)
    assert_refused(folder, match, resolve_source)  # before TensorFlow starts


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"vocab_size": 29}, "its vocabulary has 30 word pieces, and its table .* 29 rows"),
        ({"vocab_size": 31}, r"word_embeddings\.weight is 30 x 8 and the configuration says 31 x"),
        ({"intermediate_size": 10}, r"intermediate\.dense\.weight is 12 x 8 .* says 10 x 8"),
        ({"num_hidden_layers": 3}, r"lacks encoder\.layer\.1\.attention.* and 31 other weights"),
    ],
)
def test_configurations_that_the_weights_contradict(tmp_path, changes, match):
    assert_refused(copy_variant("pretraining", tmp_path / "model", **changes), match)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (
            "pytorch_model.bin",
            r"never opened: convert them once: python -c .*save_pretrained\(new\)",
        ),
        ("flax_model.msgpack", "Flax weights: convert.*from_flax=True"),
        ("model.gguf", "llama.cpp"),
        ("adapter_config.json", "an adapter.*merge_and_unload"),
        ("model.onnx", "an exported program"),
        ("saved_model.pb", "a SavedModel"),
        ("model.pt", "never opened"),
        ("README.txt", "no weights in it"),
    ],
)
def test_files_that_are_not_read(tmp_path, name, match):
    folder = copy_variant("pretraining", tmp_path / "model", without=["*.safetensors"])
    (folder / name).write_bytes(b"{}")
    assert_refused(folder, match)
    assert_refused(folder, match, resolve_source)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", ["truncated", "pickle", "empty", "header"])
def test_damaged_safetensors(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    folder = copy_variant("pretraining", tmp_path / "model")
    path = folder / "model.safetensors"
    path.write_bytes(
        {
            "truncated": path.read_bytes()[:-5],
            "pickle": pickle.dumps(Bomb()),
            "empty": b"",
            "header": b"\xff" * 64,
        }[content]
    )
    assert_refused(folder, r"model\.safetensors: damaged, or not in the safetensors format")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ({"weight_map": {"a": "../secret.safetensors"}}, "only safetensors files beside it"),
        ({"weight_map": {"a": "/etc/passwd"}}, "names the file '/etc/passwd'"),
        ({"weight_map": {"a": "weights.bin"}}, "names the file 'weights.bin'"),
        ({"weight_map": {"a": "gone.safetensors"}}, "gone.safetensors, which is missing"),
        ({"weight_map": {"a": 5}}, "names the file 5"),
        ({"weight_map": {"a": "model-00001-of-00003.safetensors"}}, "lacks a, which"),
        ([], "damaged: no weight_map"),
    ],
)
def test_hostile_indices(tmp_path, index, match):
    folder = copy_variant("classifier", tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_refused(folder, match)


def test_json_that_is_nested_without_end(tmp_path):
    folder = copy_variant("pretraining", tmp_path / "model")
    (folder / "config.json").write_text("[" * 200_000)
    assert_refused(folder, r"config\.json: damaged, not JSON")


def test_several_files_without_their_index(tmp_path):
    folder = copy_variant("classifier", tmp_path / "model", without=["*.index.json"])
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert_refused(folder, r"several safetensors files in it, and no model\.safetensors\.index")


def test_missing_and_quantized_tensors(tmp_path):
    folder = copy_variant("pretraining", tmp_path / "model")
    state = state_of("pretraining")
    name = "bert.encoder.layer.0.output.dense.bias"
    save_file({n: v for n, v in state.items() if n != name}, folder / "model.safetensors")
    assert_refused(folder, r"not a complete BERT: lacks encoder\.layer\.0\.output\.dense\.bias$")
    save_file({**state, name: state[name].astype("int8")}, folder / "model.safetensors")
    assert_refused(folder, "is int8: quantized weights are not read")
    save_file({**state, name: state[name] * np.nan}, folder / "model.safetensors")
    assert_refused(folder, rf"{name} has values that are no finite numbers \(NaN\)")


def test_damaged_checkpoints_and_h5_files(tmp_path):
    folder = write_tensorflow1("pretraining_tanh", tmp_path / "tf1")
    data = folder / "bert_model.ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    assert_refused(folder, "damaged")
    (folder / "bert_model.ckpt.index").write_bytes(b"cut")
    assert_refused(folder, "damaged checkpoint")
    (folder / "bert_config.json").unlink()
    assert_refused(folder, r"no bert_config\.json in it")
    folder = write_keras_h5("pretraining", tmp_path / "h5")
    path = folder / "tf_model.h5"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert_refused(folder, "damaged, or not an HDF5 file")
    with h5py.File(path, "w") as file:
        file.create_dataset("bert/x:0", (1,), "f4", external=[(str(tmp_path / "secret"), 0, 4)])
    assert_refused(folder, "lies in another file, which is not read")
    folder = write_keras_h5("pretraining", tmp_path / "words")
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        (name,) = (n for n in _datasets(file) if n.endswith("word_embeddings/weight:0"))
        shape = file[name].shape
        del file[name]
        file[name] = np.full(shape, b"words")
    assert_refused(folder, r"word_embeddings/weight:0 is .*, no numbers")


def _datasets(file):
    names = []
    file.visit(names.append)
    return names


def test_heads_that_give_no_labels(tmp_path):
    folder = copy_variant("tagger", tmp_path / "model", architectures=["BertForMultipleChoice"])
    assert_refused(folder, "BertForMultipleChoice, is of a kind .*train one with", load_model)
    spans = copy_variant("classifier", tmp_path / "s", architectures=["BertForQuestionAnswering"])
    assert_refused(spans, "its head has 3 outputs a token", load_model)
    for number, (names, match) in enumerate(
        [
            ({"0": "a", "1": "b"}, "does not name the 3 classes"),
            ({"0": "a", "1": "b", "3": "c"}, "does not name the 3 classes"),
            ({"0": "a", "1": "a", "2": "c"}, "gives two classes of its head one name"),
        ]
    ):
        folder = copy_variant("classifier", tmp_path / str(number), id2label=names)
        assert_refused(folder, f"id2label in config.json {match}", load_model)
        assert load_encoder(str(folder))  # whose head is new in any case


def test_a_classification_head_that_is_none(tmp_path):
    folder = copy_variant("classifier", tmp_path / "one", without=["*.safetensors*"])
    state = state_of("classifier")
    save_file({**state, "classifier.weight": np.ones((), "float32")}, folder / "model.safetensors")
    assert_refused(folder, r"classifier\.weight is no matrix", load_model)


@pytest.mark.parametrize("rate", ["much", 1.5, [0.1]])
def test_the_dropout_of_a_head(tmp_path, rate):
    folder = copy_variant("classifier", tmp_path / "model", classifier_dropout=rate)
    assert_refused(folder, "classifier_dropout is .*: it must be from 0 to below 1")

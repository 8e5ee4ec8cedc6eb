"""The stored models of transformers, and the same ones in the forms of other programs.

The names in these forms are spelled out here from the programs' own sources, not taken from the
package.
"""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

VARIANTS = Path(__file__).parents[1] / "models" / "golden" / "variants"
KINDS = sorted(path.name for path in VARIANTS.iterdir() if path.is_dir())
INPUTS = ("token_ids", "segment_ids", "padding_mask")


def reference(kind):
    """(inputs, outputs) of a stored model, as transformers computed them."""
    arrays = dict(np.load(VARIANTS / kind / "reference.npz"))
    return {name: arrays.pop(name) for name in INPUTS}, arrays


def state_of(kind):
    """{name: array}: the weights of a stored model as transformers saved them."""
    files = (VARIANTS / kind).glob("*.safetensors")
    return {name: value for file in files for name, value in load_file(file).items()}


def copy_variant(kind, folder, without=(), **config):
    """A copy of a stored model, without some files and with changes of its config.json."""
    shutil.copytree(VARIANTS / kind, folder, ignore=shutil.ignore_patterns(*without))
    path = folder / "config.json"
    if path.exists():
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def write_tensorflow1(kind, folder):
    """A folder as Google released them, by TensorFlow 1's saver, with slots of its optimizer.

    A model of spans has the head of run_squad.py.
    """
    values = {}
    for name, value in state_of(kind).items():
        # As in Google's modeling.py, run_pretraining.py, run_classifier.py and run_squad.py.
        name = re.sub(r"\.layer\.(\d+)\.", r".layer_\1.", name)
        is_matrix = name.endswith(".weight") and "embeddings" not in name
        name = name.replace("_embeddings.weight", "_embeddings").replace(
            "LayerNorm.weight", "LayerNorm.gamma"
        )
        name = name.replace("LayerNorm.bias", "LayerNorm.beta")
        name = name.replace("cls.predictions.bias", "cls.predictions.output_bias")
        name = name.replace("seq_relationship.weight", "seq_relationship.output_weights")
        name = name.replace("seq_relationship.bias", "seq_relationship.output_bias")
        name = name.replace("qa_outputs.weight", "cls.squad.output_weights")
        name = name.replace("qa_outputs.bias", "cls.squad.output_bias")
        name = name.replace("classifier.weight", "output_weights")
        name = name.replace("classifier.bias", "output_bias").replace(".", "/")
        if is_matrix and name.endswith("/weight"):
            name, value = name.replace("/weight", "/kernel"), value.T
        values[name] = value
    folder.mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value)
            for slot in ("adam_m", "adam_v"):
                tf.compat.v1.get_variable(f"{name}/{slot}", initializer=np.zeros_like(value))
        tf.compat.v1.get_variable("global_step", initializer=np.int64(7))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "bert_model.ckpt"))
    _write_googles_files(kind, folder)
    return folder


def write_model_garden(kind, folder, numbered=True):
    """A folder with a checkpoint of Model Garden's encoder and its masked-LM head.

    Args:
        numbered: Whether the encoder's layers are numbered through, as until 2021.
    """
    state = {name.removeprefix("bert."): value for name, value in state_of(kind).items()}
    config = json.loads((VARIANTS / kind / "config.json").read_text())
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    width = config["hidden_size"]

    def module(**parts):
        found = tf.Module()
        for name, part in parts.items():
            setattr(found, name, tf.Variable(part) if isinstance(part, np.ndarray) else part)
        return found

    def dense(name, kernel_shape=None, bias_shape=None):
        kernel, bias = state[f"{name}.weight"].T, state[f"{name}.bias"]
        return module(
            kernel=kernel.reshape(kernel_shape or kernel.shape),
            bias=bias.reshape(bias_shape or bias.shape),
        )

    def norm(name):
        return module(gamma=state[f"{name}.weight"], beta=state[f"{name}.bias"])

    def table(name):
        return module(embeddings=state[f"embeddings.{name}_embeddings.weight"])

    to_heads = ((width, heads, width // heads), (heads, width // heads))
    blocks = [
        module(
            _attention_layer=module(
                **{
                    f"_{part}_dense": dense(f"encoder.layer.{n}.attention.self.{part}", *to_heads)
                    for part in ("query", "key", "value")
                },
                _output_dense=dense(
                    f"encoder.layer.{n}.attention.output.dense", (heads, width // heads, width)
                ),
            ),
            _attention_layer_norm=norm(f"encoder.layer.{n}.attention.output.LayerNorm"),
            _intermediate_dense=dense(f"encoder.layer.{n}.intermediate.dense"),
            _output_dense=dense(f"encoder.layer.{n}.output.dense"),
            _output_layer_norm=norm(f"encoder.layer.{n}.output.LayerNorm"),
        )
        for n in range(layers)
    ]
    if numbered:
        parts = [table(name) for name in ("word", "position", "token_type")]
        parts += [norm("embeddings.LayerNorm"), *blocks, dense("pooler.dense")]
        encoder = module(**{f"layer_with_weights-{n}": part for n, part in enumerate(parts)})
    else:
        encoder = module(
            _embedding_layer=table("word"),
            _position_embedding_layer=table("position"),
            _type_embedding_layer=table("token_type"),
            _embedding_norm_layer=norm("embeddings.LayerNorm"),
            _transformer_layers=blocks,
            _pooler_layer=dense("pooler.dense"),
        )
    masked_lm = module(
        dense=dense("cls.predictions.transform.dense"),
        layer_norm=norm("cls.predictions.transform.LayerNorm"),
        bias=state["cls.predictions.bias"],
    )
    folder.mkdir()
    tf.train.Checkpoint(encoder=encoder, masked_lm=masked_lm).write(str(folder / "bert_model.ckpt"))
    _write_googles_files(kind, folder)
    return folder


def write_keras_h5(kind, folder):
    """A folder with `tf_model.h5`, as transformers' TensorFlow classes saved it."""
    copy_variant(kind, folder, without=["*.safetensors*", "reference*"])
    model = (
        "tf_"
        + re.sub(
            "(?<=[a-z])(?=[A-Z])",
            "_",
            json.loads((folder / "config.json").read_text())["architectures"][0],
        ).lower()
    )
    with h5py.File(folder / "tf_model.h5", "w") as file:
        for name, value in state_of(kind).items():
            name = re.sub(r"\.layer\.(\d+)\.", r".layer_._\1.", name).replace("._", "\0")
            *place, leaf = name.split(".")
            if leaf == "weight" and "embeddings" not in place[-1]:
                leaf, value = ("gamma", value) if place[-1] == "LayerNorm" else ("kernel", value.T)
            elif leaf == "weight" and place[-1] != "word_embeddings":
                leaf = "embeddings"
            elif place[-1] == "LayerNorm":
                leaf = "beta"
            if place[0] == "cls":
                place[0] = "nsp___cls" if place[1] == "seq_relationship" else "mlm___cls"
            path = "/".join([place[0], model, *place, leaf + ":0"]).replace("\0", "._")
            file[path] = value
    return folder


def _write_googles_files(kind, folder):
    config = json.loads((VARIANTS / kind / "config.json").read_text())
    config["hidden_act"] = "gelu"  # which Google's code computes by tanh
    for key in ("model_type", "architectures", "id2label", "label2id", "layer_norm_eps"):
        config.pop(key, None)
    (folder / "bert_config.json").write_text(json.dumps(config))
    vocabulary = json.loads((VARIANTS / kind / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary), "utf-8")

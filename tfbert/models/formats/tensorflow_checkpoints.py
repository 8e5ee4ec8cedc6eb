"""Weights in TensorFlow's checkpoints: Google's BERT (TensorFlow 1), and Model Garden's (2).

TensorFlow 1 keeps the names of variables, as `bert/encoder/layer_0/output/dense/kernel`: Google's
release, NVIDIA's, and what their scripts saved, whose optimizer slots are passed over. TensorFlow 2
keeps the way from object to object, as `encoder/layer_with_weights-4/_output_dense/kernel`, or
`encoder/_transformer_layers/0/_output_dense/kernel` since 2021.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from tfbert.errors import InputError, first_line
from tfbert.models.formats.huggingface_names import huggingface_name
from tfbert.models.formats.stored_weights import StoredWeights

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_GOOGLES_HEADS = {
    "mlm_head/bias": ["cls/predictions/output_bias"],
    "nsp_head/kernel": ["cls/seq_relationship/output_weights"],
    "nsp_head/bias": ["cls/seq_relationship/output_bias"],
    # Of run_classifier.py and of run_squad.py.
    "logits/kernel": ["output_weights", "cls/squad/output_weights"],
    "logits/bias": ["output_bias", "cls/squad/output_bias"],
}
_GARDENS_PARTS = {
    "self_attention_layer/query": ["_attention_layer/_query_dense"],
    "self_attention_layer/key": ["_attention_layer/_key_dense"],
    "self_attention_layer/value": ["_attention_layer/_value_dense"],
    # The second one is that of releases before 2.3.
    "self_attention_layer/attention_output": [
        *("_attention_layer/_output_dense", "_attention_output_dense"),
    ],
    "self_attention_layer_norm": ["_attention_layer_norm"],
    "feedforward_intermediate_dense": ["_intermediate_dense"],
    "feedforward_output_dense": ["_output_dense"],
    "feedforward_layer_norm": ["_output_layer_norm"],
}
_LAYER = re.compile(r"transformer_layer_(\d+)/(.+)")


def checkpoint_prefix(folder: Path, names: Collection[str]) -> Path:
    """The path of the one checkpoint in a folder, without `.index`.

    Args:
        names: Of the files in it.

    Raises:
        InputError: If there are several and none is called `bert_model.ckpt`.
    """
    found = sorted(name.removesuffix(".index") for name in names if name.endswith(".index"))
    usual = [name for name in found if name.startswith("bert_model.ckpt")]
    chosen = usual if len(usual) == 1 else found
    if len(chosen) > 1:
        raise InputError(
            f"model {folder}: holds {len(found)} checkpoints ({', '.join(found[:3])} ...): "
            f"name one, as in {folder / found[-1]}"
        )
    return folder / chosen[0]


def read_checkpoint(prefix: Path, num_layers: int) -> StoredWeights:
    """The weights of a checkpoint of TensorFlow 1 or of Model Garden.

    Args:
        prefix: Its path without `.index`.
        num_layers: Of the encoder.

    Raises:
        InputError: If it cannot be read, or is of neither, or TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise InputError(
            f"{prefix}: a checkpoint of TensorFlow's, which only TensorFlow reads, and it is not "
            "installed: convert it where it is, with `tfbert export --format huggingface`"
        ) from error
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    # TensorFlow's own classes and ValueError, by the kind of damage.
    except Exception as error:
        raise InputError(f"{prefix}: damaged checkpoint: {first_line(error)}") from error

    def read(name):
        try:
            return reader.get_tensor(name)
        except Exception as error:
            raise InputError(f"{prefix}: damaged at {name}: {first_line(error)}") from error

    if _OBJECT_GRAPH in shapes:
        return StoredWeights(str(prefix), shapes, read, _garden_names(num_layers))
    return StoredWeights(
        where=str(prefix),
        shapes=shapes,
        read=read,
        names_of=google_names,
        # (2, width) and (outputs, width), other than all matrices of the encoder.
        is_transposed=lambda path: path in ("nsp_head/kernel", "logits/kernel"),
    )


def google_names(path: str) -> Sequence[str]:
    """What TensorFlow 1 calls the variable with a path, without `bert/`."""
    if path in _GOOGLES_HEADS:
        return _GOOGLES_HEADS[path]
    place = huggingface_name(path).removeprefix("bert.").rpartition(".")[0]
    place = place.replace("encoder.layer.", "encoder.layer_").replace(".", "/")
    kind = path.rpartition("/")[2]
    return [place if kind == "embeddings" else f"{place}/{kind}"]


def _garden_names(num_layers):
    """Model Garden's names: in a model made of functions, layers are numbered through."""
    tables = {
        "token_embedding/embeddings": [
            *("layer_with_weights-0/embeddings", "_embedding_layer/embeddings"),
            "masked_lm/embedding_table",  # the same table, where the head was tracked first
        ],
        "position_embedding/embeddings": [
            *("layer_with_weights-1/embeddings", "_position_embedding_layer/embeddings"),
            "_position_embedding_layer/_position_embeddings",
        ],
        "segment_embedding/embeddings": [
            *("layer_with_weights-2/embeddings", "_type_embedding_layer/embeddings"),
        ],
        "mlm_head/bias": ["masked_lm/bias"],
    }
    layers = {
        "embeddings_layer_norm": ["layer_with_weights-3", "_embedding_norm_layer"],
        "pooled_dense": [
            *(f"layer_with_weights-{num_layers + 4}", "_pooler_layer"),
            # Part of the next-sentence head; a dot in a name is written twice.
            *("next_sentence..pooler_dense", "classification_heads/0/dense"),
        ],
        "mlm_head/dense": ["masked_lm/dense"],
        "mlm_head/layer_norm": ["masked_lm/layer_norm"],
        "nsp_head": ["classification_heads/0/out_proj"],
    }

    def names_of(path):
        layer, _, kind = path.rpartition("/")
        if path in tables:
            names = tables[path]
        elif match := _LAYER.fullmatch(layer):
            number, parts = int(match[1]), _GARDENS_PARTS[match[2]]
            homes = (f"layer_with_weights-{number + 4}", f"_transformer_layers/{number}")
            names = [f"{home}/{part}/{kind}" for home in homes for part in parts]
        else:
            # No classification heads: nothing tells which of its layers is one.
            names = [f"{home}/{kind}" for home in layers.get(layer, [])]
        return [name + _VALUE for name in names] or [path]

    return names_of

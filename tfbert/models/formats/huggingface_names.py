"""What Hugging Face calls the weights of a BERT, and how it shapes them; for both directions.

Theirs are PyTorch's: a matrix is (outputs, inputs), and heads have no axis of their own. A
change of form moves values and computes nothing, so that it is exact.
"""

from __future__ import annotations

import math
import re

import numpy as np

_TABLES = {
    "token_embedding/embeddings": "bert.embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "bert.embeddings.position_embeddings.weight",
    "segment_embedding/embeddings": "bert.embeddings.token_type_embeddings.weight",
}
_LAYERS = {
    "embeddings_layer_norm": "bert.embeddings.LayerNorm",
    "pooled_dense": "bert.pooler.dense",
    "logits": "classifier",
    "mlm_head/dense": "cls.predictions.transform.dense",
    "mlm_head/layer_norm": "cls.predictions.transform.LayerNorm",
    "mlm_head": "cls.predictions",
    "nsp_head": "cls.seq_relationship",
}
_PARTS_OF_A_LAYER = {
    "self_attention_layer/query": "attention.self.query",
    "self_attention_layer/key": "attention.self.key",
    "self_attention_layer/value": "attention.self.value",
    "self_attention_layer/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
    "feedforward_layer_norm": "output.LayerNorm",
}
SPAN_HEAD = "qa_outputs"  # which stands instead of `classifier` where answers are looked for
_KINDS = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
_LAYER = re.compile(r"transformer_layer_(\d+)/(.+)")


def huggingface_name(path: str) -> str:
    """Hugging Face's name of the weight with a path: that of a `BertFor...`, so with `bert.`.

    Args:
        path: Of a variable of `BertEncoder`, `BertClassifier`, `BertTokenClassifier` or
            `BertPretrainer`.

    Raises:
        KeyError: If none of them has such a variable.
    """
    if path in _TABLES:
        return _TABLES[path]
    layer, _, kind = path.rpartition("/")
    if match := _LAYER.fullmatch(layer):
        return f"bert.encoder.layer.{match[1]}.{_PARTS_OF_A_LAYER[match[2]]}.{_KINDS[kind]}"
    return f"{_LAYERS[layer]}.{_KINDS[kind]}"


def huggingface_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that Hugging Face gives the variable with a path, whose own shape is `shape`."""
    if path.endswith("/kernel"):
        # The output's projection is (heads, head_dim, outputs), others (inputs, heads, head_dim).
        inputs = math.prod(shape[:-1] if "/attention_output/" in path else shape[:1])
        return math.prod(shape) // inputs, inputs
    return (math.prod(shape),) if path.endswith("/bias") else shape


def to_huggingface(path: str, value: np.ndarray) -> np.ndarray:
    """The value of the variable with a path, in Hugging Face's shape."""
    shape = huggingface_shape(path, value.shape)
    if path.endswith("/kernel"):
        return np.ascontiguousarray(value.reshape(shape[::-1]).T)
    return value.reshape(shape)


def from_huggingface(path: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `to_huggingface`.

    Args:
        value: Of `huggingface_shape(path, shape)`.
        shape: Of the variable with the path.
    """
    return (value.T if path.endswith("/kernel") else value).reshape(shape)

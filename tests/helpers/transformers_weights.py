"""Weights of a BERT of KerasHub's under the names and in the shapes of Hugging Face's."""

import re

import numpy as np

_RENAMED = {
    "token_embedding/embeddings": "bert.embeddings.word_embeddings.weight",
    "position_embedding/embeddings": "bert.embeddings.position_embeddings.weight",
    "segment_embedding/embeddings": "bert.embeddings.token_type_embeddings.weight",
    "embeddings_layer_norm": "bert.embeddings.LayerNorm",
    "pooled_dense": "bert.pooler.dense",
    "self_attention_layer/query": "attention.self.query",
    "self_attention_layer/key": "attention.self.key",
    "self_attention_layer/value": "attention.self.value",
    "self_attention_layer/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
    "feedforward_layer_norm": "output.LayerNorm",
    "mlm_head/dense": "cls.predictions.transform.dense",
    "mlm_head/layer_norm": "cls.predictions.transform.LayerNorm",
    "mlm_head": "cls.predictions",
    "nsp_head": "cls.seq_relationship",
}
_LAST = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}


def assign_weights(model, weights):
    """Assigns every weight of a `BertPretrainer` its value from a state dictionary of arrays."""
    for variable in model.weights:
        value = weights[their_name(variable.path)]
        if variable.path.endswith("kernel"):
            # Theirs are (outputs, inputs), without axes for heads.
            value = value.T
        variable.assign(value.reshape(variable.shape))


def state_dictionary(backbone):
    """`{their name: array}` of all weights of an encoder."""
    found = {}
    for variable in backbone.weights:
        value = np.array(variable)
        if variable.path.endswith("kernel"):
            outputs = value.shape[-1:] if "output/" in variable.path else value.shape[1:]
            value = np.ascontiguousarray(value.reshape(-1, np.prod(outputs)).T)
        elif value.ndim == 2 and variable.path.endswith("bias"):
            value = value.reshape(-1)  # (heads, width of a head)
        found[their_name(variable.path).removeprefix("bert.")] = value
    return found


def their_name(path):
    """Hugging Face's name of the variable with a path."""
    if path in _RENAMED:
        return _RENAMED[path]
    layer, _, last = path.rpartition("/")
    prefix = ""
    if match := re.match(r"transformer_layer_(\d+)/(.*)", layer):
        prefix, layer = f"bert.encoder.layer.{match[1]}.", match[2]
    return f"{prefix}{_RENAMED[layer]}.{_LAST[last]}"


def assign_head(model, weights, prefix, outputs=None):
    """Assigns the head of a classifier the weights of transformers' classifier.

    Args:
        weights: Arrays by name, among them `prefix` and the layer's name.
        prefix: Of the head's weights.
        outputs: (outputs,) which of their outputs each of ours is; None takes their order.
    """
    found = {name.rpartition(".")[2]: weights[name] for name in weights if name.startswith(prefix)}
    order = slice(None) if outputs is None else outputs
    model.output_dense.kernel.assign(found["weight"][order].T)
    model.output_dense.bias.assign(found["bias"][order])

"""Weights of Hugging Face's BertForPreTraining as those of a `BertPretrainer`, tensor by tensor."""

import re

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
    """Gives every weight of `model` its value out of a state dictionary of NumPy arrays."""
    for variable in model.weights:
        value = weights[_their_name(variable.path)]
        if variable.path.endswith("kernel"):
            # Theirs are (outputs, inputs), without axes for heads.
            value = value.T
        variable.assign(value.reshape(variable.shape))


def _their_name(path):
    if path in _RENAMED:
        return _RENAMED[path]
    layer, _, last = path.rpartition("/")
    prefix = ""
    if match := re.match(r"transformer_layer_(\d+)/(.*)", layer):
        prefix, layer = f"bert.encoder.layer.{match[1]}.", match[2]
    return f"{prefix}{_RENAMED[layer]}.{_LAST[last]}"

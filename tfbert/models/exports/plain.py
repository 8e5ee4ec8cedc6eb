"""The encoder in its plain inference form, of Keras' and KerasHub's layers: for converters.

Our own layers have fused kernels and gradients of their own, which no other program knows.
"""

from __future__ import annotations

import keras
import keras_hub
from keras import ops
from keras_hub.layers import PositionEmbedding

from tfbert.models.encoder import BertEncoder, copy_weights
from tfbert.models.token_classifier import PADDING_LOGIT, BertTokenClassifier
from tfbert.models.trained_model import HeadedModel
from tfbert.types import Tensor


def plain_encoder(encoder: BertEncoder) -> keras.Model:
    """A Keras model with the weights, inputs and outputs of an encoder, in float32, no dropout."""

    def options(name):
        return {"dtype": "float32", "name": name}

    epsilon, width = encoder.layer_norm_epsilon, encoder.hidden_dim
    inputs = {
        name: keras.Input(shape=(None,), dtype="int32", name=name)
        for name in ("token_ids", "segment_ids", "padding_mask")
    }  # each (batch, tokens)
    embed = keras.layers.Embedding
    tokens = embed(encoder.vocabulary_size, width, **options("token_embedding"))
    segments = embed(encoder.num_segments, width, **options("segment_embedding"))
    positions = PositionEmbedding(encoder.max_sequence_length, **options("position_embedding"))
    embedded = tokens(inputs["token_ids"])
    x = keras.layers.Add(**options("embeddings_add"))(
        (embedded, positions(embedded), segments(inputs["segment_ids"]))
    )
    x = keras.layers.LayerNormalization(epsilon=epsilon, **options("embeddings_layer_norm"))(x)
    for number in range(encoder.num_layers):
        x = keras_hub.layers.TransformerEncoder(
            encoder.intermediate_dim,
            encoder.num_heads,
            activation=_ACTIVATIONS[encoder.activation],
            layer_norm_epsilon=epsilon,
            **options(f"transformer_layer_{number}"),
        )(x, padding_mask=inputs["padding_mask"])
    pooler = keras.layers.Dense(width, activation="tanh", **options("pooled_dense"))
    model = keras.Model(inputs, {"sequence_output": x, "pooled_output": pooler(x[:, 0, :])})
    copy_weights(encoder, model)
    return model


def plain_classifier(classifier: HeadedModel) -> keras.Model:
    """A Keras model with the weights and inputs of a model with a head; its output is `logits`.

    (batch, outputs) float32 or, of a head on tokens, (batch, tokens, outputs), -1e9 at padding.
    """
    encoder = plain_encoder(classifier.backbone)
    head = keras.layers.Dense(classifier.num_classes, dtype="float32", name="logits")
    encoded = encoder(encoder.input)
    if isinstance(classifier, BertTokenClassifier):
        is_token = ops.expand_dims(ops.cast(encoder.input["padding_mask"], "bool"), -1)
        logits = ops.where(is_token, head(encoded["sequence_output"]), PADDING_LOGIT)
    else:
        logits = head(encoded["pooled_output"])
    model = keras.Model(encoder.input, {"logits": logits})
    copy_weights(classifier, model)
    return model


def _gelu(x: Tensor) -> Tensor:
    # Not Keras' own: it takes `erfc` on TensorFlow, which ONNX lacks.
    return 0.5 * x * (1.0 + ops.erf(x * 0.5**0.5))


def _gelu_tanh(x: Tensor) -> Tensor:
    return keras.activations.gelu(x, approximate=True)


_ACTIVATIONS = {"gelu": _gelu, "gelu_tanh": _gelu_tanh}

"""BERT's encoder (Devlin et al. 2019), and freezing."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub
from keras_hub.layers import PositionEmbedding, ReversibleEmbedding

from tfbert.errors import InputError
from tfbert.models.formats.presets import check_preset, read_settings, write_settings
from tfbert.models.formats.stock import OWN_ARGUMENTS, from_stock, to_stock
from tfbert.models.formats.stock import copy_weights as copy_weights
from tfbert.models.formats.stock import weights_by_path as weights_by_path
from tfbert.models.layers.dropout import Dropout
from tfbert.models.layers.transformer import (
    TransformerEncoder,
    bert_initializer,
    norm_policy,
)
from tfbert.models.sizes import LAYER_NORM_EPSILON
from tfbert.types import ActivationName


@keras.saving.register_keras_serializable("tfbert")
class BertEncoder(keras_hub.models.BertBackbone):
    """KerasHub's `BertBackbone` with transformer layers that train faster.

    Inputs, outputs, attributes, variable paths and weights are the stock class's; with the default
    activation and epsilon outputs are equal up to rounding. Dropout rates are rounded (see
    `Dropout`), which affects training only. It writes presets of stock classes.

    Args:
        rematerialize: Whether each transformer layer computes its activations again in the
            backward pass instead of keeping them: less memory, one more forward pass.
        activation: `gelu`, exact, by the error function, as most models of Hugging Face have it,
            or `gelu_tanh`, an approximation, as Google's BERT and KerasHub have it. Their outputs
            differ by some thousandths.
        layer_norm_epsilon: What layer normalisation adds to the variance.
        attention_dropout: Rate of the dropout on attention probabilities; None takes `dropout`, as
            BERT's authors do.
        fused_attention: Whether attention is one kernel of the device, which keeps no
            probabilities: on JAX alone, and without dropout on them.

    The other arguments are `BertBackbone`'s.

    Example:

    ```python
    encoder = tfbert.BertEncoder(
        vocabulary_size=100, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    )
    inputs = {name: np.ones((4, 7), "int32") for name in encoder.input}
    sequence = encoder(inputs)["sequence_output"]  # (4, 7, 8)
    pooled = encoder(inputs)["pooled_output"]  # (4, 8)
    ```
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        rematerialize: bool = False,
        dtype: str | keras.DTypePolicy | None = None,
        activation: ActivationName = "gelu_tanh",
        layer_norm_epsilon: float = LAYER_NORM_EPSILON,
        attention_dropout: float | None = None,
        fused_attention: bool = False,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        self.token_embedding = ReversibleEmbedding(
            input_dim=vocabulary_size,
            output_dim=hidden_dim,
            embeddings_initializer=bert_initializer(),
            dtype=dtype,
            name="token_embedding",
        )
        self.position_embedding = PositionEmbedding(
            initializer=bert_initializer(),
            sequence_length=max_sequence_length,
            dtype=dtype,
            name="position_embedding",
        )
        self.segment_embedding = keras.layers.Embedding(
            input_dim=num_segments,
            output_dim=hidden_dim,
            embeddings_initializer=bert_initializer(),
            dtype=dtype,
            name="segment_embedding",
        )
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            axis=-1,
            epsilon=layer_norm_epsilon,
            dtype=norm_policy(keras.dtype_policies.get(dtype)),
            name="embeddings_layer_norm",
        )
        self.embeddings_dropout = Dropout(dropout, dtype=dtype, name="embeddings_dropout")
        self.transformer_layers = [
            TransformerEncoder(
                intermediate_dim,
                num_heads,
                dropout,
                rematerialize,
                activation,
                layer_norm_epsilon,
                attention_dropout,
                fused_attention,
                dtype=dtype,
                name=f"transformer_layer_{number}",
            )
            for number in range(num_layers)
        ]
        self.pooled_dense = keras.layers.Dense(
            hidden_dim,
            kernel_initializer=bert_initializer(),
            activation="tanh",
            dtype=dtype,
            name="pooled_dense",
        )

        # === Functional Model ===
        inputs = {
            name: keras.Input(shape=(None,), dtype="int32", name=name)
            for name in ("token_ids", "segment_ids", "padding_mask")
        }  # each (batch, tokens)
        tokens = self.token_embedding(inputs["token_ids"])
        positions = self.position_embedding(tokens)
        segment_ids = inputs["segment_ids"]
        if num_segments == 1:  # one row for both segments of a pair
            segment_ids = keras.ops.zeros_like(segment_ids)
        segments = self.segment_embedding(segment_ids)
        x = self.embeddings_add((tokens, positions, segments))
        x = self.embeddings_dropout(self.embeddings_layer_norm(x))
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])
        outputs = {"sequence_output": x, "pooled_output": self.pooled_dense(x[:, 0, :])}
        # Not the stock class' constructor, which would make its own layers.
        keras_hub.models.Backbone.__init__(
            self, inputs=inputs, outputs=outputs, dtype=dtype, **kwargs
        )

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        self.max_sequence_length = max_sequence_length
        self.num_segments = num_segments
        self.rematerialize = rematerialize
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.attention_dropout = attention_dropout
        self.fused_attention = fused_attention
        self.cls_token_index = 0

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in OWN_ARGUMENTS},
        }

    @classmethod
    def from_preset(
        cls,
        preset: str,
        load_weights: bool = True,
        rematerialize: bool = False,
        attention_dropout: float | None = None,
        **kwargs: Any,
    ) -> BertEncoder:
        """Opens a KerasHub preset of a `BertBackbone`; arguments as there.

        `tfbert.load_encoder` opens models of other forms.

        Raises:
            InputError: If the preset is a model of Hugging Face's form.
        """
        check_preset(preset)
        stock = keras_hub.models.BertBackbone.from_preset(preset, load_weights, **kwargs)
        settings = read_settings(preset)["encoder"]
        own = {"rematerialize": rematerialize, "attention_dropout": attention_dropout}
        return from_stock(stock, **own, **settings)

    def save_to_preset(self, preset_dir: str, max_shard_size: float = 10) -> None:
        """Writes a preset of the stock class, float32, which opens without this package.

        What a preset cannot hold, as the exact GELU, stands in `tfbert.json` beside it.
        """
        to_stock(self, dtype="float32").save_to_preset(preset_dir, max_shard_size)
        write_settings(preset_dir, self)


def freeze_lower_layers(
    backbone: keras_hub.models.BertBackbone, count: int, dropout: bool = True
) -> None:
    """Makes the embeddings and the `count` lowest encoder layers untrainable; 0 freezes nothing.

    Layers above them keep their `trainable`. Compile the model again afterwards.

    Args:
        dropout: Whether the frozen part drops elements in training. Without it the part computes
            as in an evaluation; for a `BertEncoder` only.

    Raises:
        InputError: If the encoder has fewer layers, or is not a `BertEncoder` where it has to be.
    """
    if count > backbone.num_layers:
        raise InputError(
            f"--freeze-layers {count}: the model has only {backbone.num_layers} layers"
        )
    is_ours = isinstance(backbone, BertEncoder)
    if count and not dropout and not is_ours:
        raise InputError("--frozen-dropout false: dropout cannot be left out of a stock encoder")
    if count:
        embeddings = (
            backbone.token_embedding,
            backbone.position_embedding,
            backbone.segment_embedding,
            backbone.embeddings_layer_norm,
        )
        for layer in (*embeddings, *backbone.transformer_layers[:count]):
            layer.trainable = False
    if is_ours:
        droppers: list[Any] = [backbone.embeddings_dropout, *backbone.transformer_layers]
        frozen = count + 1 if count and not dropout else 0  # the embeddings' dropout comes first
        for number, layer in enumerate(droppers):
            layer.drops = number >= frozen

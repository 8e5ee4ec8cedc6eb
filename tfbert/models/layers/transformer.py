"""One layer of BERT's encoder: KerasHub's weights, a faster computation."""

from __future__ import annotations

from typing import Any

import keras

from tfbert.models.layer_origins import check_name
from tfbert.models.layers import short_forms
from tfbert.models.layers.dropout import Dropout
from tfbert.models.layers.kernels import gelu, gelu_tanh, rematerialized
from tfbert.models.layers.self_attention import SelfAttention, bert_initializer
from tfbert.models.sizes import LAYER_NORM_EPSILON
from tfbert.types import ActivationName, Tensor

ACTIVATIONS = {"gelu": gelu, "gelu_tanh": gelu_tanh}


def norm_policy(policy: keras.DTypePolicy) -> keras.DTypePolicy:
    """That of layer normalisation: its weights, which are few, are float32 in bfloat16, too."""
    return keras.DTypePolicy("mixed_bfloat16") if policy.name == "bfloat16" else policy


@keras.saving.register_keras_serializable("tfbert")
class TransformerEncoder(keras.layers.Layer):
    """Self-attention and a feed-forward net, each with dropout, residual and layer norm after it.

    Variables and, up to rounding, outputs are those of `keras_hub.layers.TransformerEncoder` with
    BERT's settings: GELU in the tanh form, layer-norm epsilon 1e-12. The class is named as
    KerasHub's is, so that the weights files of both are interchangeable.

    Args:
        intermediate_dim: Width of the feed-forward net.
        num_heads: Number of attention heads.
        dropout: Rate of all three dropouts, of which that on attention probabilities may have
            another one, `attention_dropout`.
        rematerialize: Whether to keep only the layer's input for the backward pass, and to
            compute the rest again, with the same dropout.
        activation, layer_norm_epsilon, attention_dropout, fused_attention: As in `BertEncoder`.

    Attributes:
        drops: False switches dropout off in training, too. Read when the layer is traced.
    """

    drops = True

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        rematerialize: bool = False,
        activation: ActivationName = "gelu_tanh",
        layer_norm_epsilon: float = LAYER_NORM_EPSILON,
        attention_dropout: float | None = None,
        fused_attention: bool = False,
        **kwargs: Any,
    ) -> None:
        check_name("activation", activation, ActivationName)
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.rematerialize = rematerialize
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.attention_dropout = attention_dropout
        self.fused_attention = fused_attention

    def build(self, input_shape: tuple[Any, ...]) -> None:
        policy, width = self.dtype_policy, input_shape[-1]

        def built(layer, shape=input_shape):
            layer.build(shape)
            return layer

        def norm(name):
            return keras.layers.LayerNormalization(
                epsilon=self.layer_norm_epsilon, dtype=norm_policy(policy), name=name
            )

        def dense(units, activation, name):
            return keras.layers.Dense(
                units,
                activation=activation,
                kernel_initializer=bert_initializer(),
                dtype=policy,
                name=name,
            )

        rate = self.dropout if self.attention_dropout is None else self.attention_dropout
        self._self_attention_layer = built(
            SelfAttention(
                self.num_heads,
                rate,
                self.fused_attention,
                dtype=policy,
                name="self_attention_layer",
            )
        )
        self._self_attention_layer_norm = built(norm("self_attention_layer_norm"))
        self._self_attention_dropout = Dropout(
            self.dropout, dtype=policy, name="self_attention_dropout"
        )
        self._feedforward_layer_norm = built(norm("feedforward_layer_norm"))
        self._feedforward_intermediate_dense = built(
            dense(
                self.intermediate_dim,
                ACTIVATIONS[self.activation],
                "feedforward_intermediate_dense",
            )
        )
        self._feedforward_output_dense = built(
            dense(width, None, "feedforward_output_dense"),
            (*input_shape[:-1], self.intermediate_dim),
        )
        self._feedforward_dropout = Dropout(self.dropout, dtype=policy, name="feedforward_dropout")

    def call(
        self, inputs: Tensor, padding_mask: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """
        Args:
            inputs: (batch, tokens, width).
            padding_mask: (batch, tokens) integers, 0 where a token is padding, or None.

        Returns:
            (batch, tokens, width).
        """
        # Drawn once, so that a recomputation drops the same elements.
        has_dropout = training and self.drops
        seeds = [
            self._self_attention_layer.draw_seed(has_dropout),
            self._self_attention_dropout.draw_seed(has_dropout),
            self._feedforward_dropout.draw_seed(has_dropout),
        ]
        if not (self.rematerialize and training):
            return self._forward(inputs, padding_mask, seeds)
        return self._rematerialized(inputs, padding_mask, seeds)

    def _forward(self, inputs, padding_mask, seeds):
        x = self._self_attention_layer(inputs, padding_mask=padding_mask, seed=seeds[0])
        x = self._self_attention_dropout.drop(x, seeds[1])
        attended = short_forms.normalized_sum(self._self_attention_layer_norm, x, inputs)
        x = short_forms.dense(self._feedforward_intermediate_dense, attended)
        x = short_forms.dense(self._feedforward_output_dense, x)
        x = self._feedforward_dropout.drop(x, seeds[2])
        return short_forms.normalized_sum(self._feedforward_layer_norm, x, attended)

    def _rematerialized(self, inputs, padding_mask, seeds):
        """`_forward`, computed again in the backward pass.

        All that it reads is an argument: anything else would be computed before the backward
        pass, and kept. Keras takes the variables' values from a scope that holds their tensors.
        """
        given = [padding_mask, *seeds]
        tensors = [tensor for tensor in given if tensor is not None]
        variables = self.trainable_variables + self.non_trainable_variables
        variables = [v for v in variables if "seed_generator" not in v.path]

        @rematerialized
        def forward(inputs, *arguments):
            rest = iter(arguments)
            mask, *seeds = [None if tensor is None else next(rest) for tensor in given]
            with keras.StatelessScope(state_mapping=list(zip(variables, rest, strict=True))):
                return self._forward(inputs, mask, seeds)

        return forward(inputs, *tensors, *(v.value for v in variables))

    def use_fused_attention(self, fused: bool) -> None:
        """Takes the other form of attention, from the next time on that the layer is traced."""
        self.fused_attention = self._self_attention_layer.fused = fused

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "intermediate_dim": self.intermediate_dim,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "rematerialize": self.rematerialize,
            "activation": self.activation,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "attention_dropout": self.attention_dropout,
            "fused_attention": self.fused_attention,
        }

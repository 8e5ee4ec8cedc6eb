"""One layer of BERT's encoder: KerasHub's weights, a faster computation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfbert.models.layer_origins import check_name
from tfbert.models.layers.attention import attention
from tfbert.models.layers.dropout import Dropout
from tfbert.models.layers.kernels import gelu, gelu_tanh, rematerialized
from tfbert.models.sizes import LAYER_NORM_EPSILON
from tfbert.types import ActivationName, Tensor

ACTIVATIONS = {"gelu": gelu, "gelu_tanh": gelu_tanh}


def bert_initializer() -> keras.initializers.Initializer:
    """BERT's initial values of kernels and embeddings: normal, cut off at 2 deviations of 0.02."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


@keras.saving.register_keras_serializable("tfbert")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2).

    Variables are those of `keras.layers.MultiHeadAttention`. The three projections are one
    product.

    Args:
        num_heads: Number of heads; divides the width of the input.
        dropout: Rate of the dropout on attention probabilities.
    """

    def __init__(self, num_heads: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout = dropout
        self._dropout_layer = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        width = input_shape[-1]
        if width % self.num_heads:
            raise ValueError(f"hidden_dim {width} does not divide into {self.num_heads} heads")
        per_head = (None, self.num_heads, width // self.num_heads)

        def projection(name, equation, output_shape, bias_axes, shape):
            layer = keras.layers.EinsumDense(
                equation,
                output_shape,
                bias_axes=bias_axes,
                kernel_initializer=bert_initializer(),
                dtype=self.dtype_policy,
                name=name,
            )
            layer.build(shape)
            return layer

        to_heads = ("abc,cde->abde", per_head, "de", input_shape)
        self.query_dense = projection("query", *to_heads)
        self.key_dense = projection("key", *to_heads)
        self.value_dense = projection("value", *to_heads)
        self.output_dense = projection(
            "attention_output", "abcd,cde->abe", (None, width), "e", (None, *per_head)
        )

    def draw_seed(self, training: bool) -> Tensor | None:
        """The seed of this call's dropout; None where nothing is dropped."""
        return self._dropout_layer.draw_seed(training)

    def call(
        self, inputs: Tensor, padding_mask: Tensor | None = None, seed: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            inputs: (batch, tokens, width).
            padding_mask: (batch, tokens) integers, 0 where a token is padding, or None.
            seed: From `draw_seed`.

        Returns:
            (batch, tokens, width).
        """
        width = inputs.shape[-1]
        head_dim = width // self.num_heads
        batch, tokens = ops.shape(inputs)[:2]
        denses = (self.query_dense, self.key_dense, self.value_dense)
        kernel = ops.concatenate([ops.reshape(d.kernel, (width, width)) for d in denses], axis=1)
        bias = ops.concatenate([ops.reshape(d.bias, (width,)) for d in denses], axis=0)
        projected = ops.add(ops.matmul(ops.reshape(inputs, (-1, width)), kernel), bias)
        projected = ops.reshape(projected, (batch, tokens, 3, self.num_heads, head_dim))
        query, key, value = ops.unstack(projected, 3, axis=2)  # (batch, tokens, heads, head_dim)
        context = attention(
            ops.transpose(query, (0, 2, 1, 3)),
            ops.transpose(key, (0, 2, 3, 1)),
            ops.transpose(value, (0, 2, 1, 3)),
            padding_mask,
            self._dropout_layer,
            seed,
        )
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), (-1, width))
        kernel = ops.reshape(self.output_dense.kernel, (width, width))
        output = ops.add(ops.matmul(context, kernel), self.output_dense.bias)
        return ops.reshape(output, (batch, tokens, width))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "num_heads": self.num_heads, "dropout": self.dropout}


@keras.saving.register_keras_serializable("tfbert")
class TransformerEncoder(keras.layers.Layer):
    """Self-attention and a feed-forward net, each with dropout, residual and layer norm after it.

    Variables and, up to rounding, outputs are those of `keras_hub.layers.TransformerEncoder` with
    BERT's settings: GELU in the tanh form, layer-norm epsilon 1e-12. The class is named as
    KerasHub's is, so that the weights files of both are interchangeable.

    Args:
        intermediate_dim: Width of the feed-forward net.
        num_heads: Number of attention heads.
        dropout: Rate of all three dropouts.
        rematerialize: Whether to keep only the layer's input for the backward pass, and to
            compute the rest again, with the same dropout.
        activation, layer_norm_epsilon: As in `BertEncoder`.

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

    def build(self, input_shape: tuple[Any, ...]) -> None:
        policy, width = self.dtype_policy, input_shape[-1]

        def built(layer, shape=input_shape):
            layer.build(shape)
            return layer

        def norm(name):
            return keras.layers.LayerNormalization(
                epsilon=self.layer_norm_epsilon, dtype=policy, name=name
            )

        def dense(units, activation, name):
            return keras.layers.Dense(
                units,
                activation=activation,
                kernel_initializer=bert_initializer(),
                dtype=policy,
                name=name,
            )

        self._self_attention_layer = built(
            SelfAttention(self.num_heads, self.dropout, dtype=policy, name="self_attention_layer")
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
        attended = self._self_attention_layer_norm(x + inputs)
        x = self._feedforward_intermediate_dense(attended)
        x = self._feedforward_output_dense(x)
        x = self._feedforward_dropout.drop(x, seeds[2])
        return self._feedforward_layer_norm(x + attended)

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
        }

"""Multi-head self-attention: KerasHub's weights, one product for the three projections."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from tfbert.models.layers.attention import attention_of_tokens
from tfbert.models.layers.dropout import Dropout
from tfbert.models.layers.fused_attention import check_fused_attention, fused_attention
from tfbert.models.layers.short_forms import product
from tfbert.types import Tensor

_weights_follow = contextvars.ContextVar("weights_follow", default=False)


def bert_initializer() -> keras.initializers.Initializer:
    """BERT's initial values of kernels and embeddings: normal, cut off at 2 deviations of 0.02."""
    kind = ReplacedValues if _weights_follow.get() else keras.initializers.TruncatedNormal
    return kind(stddev=0.02)


@contextlib.contextmanager
def weights_follow() -> Iterator[None]:
    """Where all weights of the models made in it come from a file: no random values are drawn.

    Seeds are drawn as elsewhere, so that a new head begins with the same values.
    """
    token = _weights_follow.set(True)
    try:
        yield
    finally:
        _weights_follow.reset(token)


@keras.saving.register_keras_serializable("tfbert")
class ReplacedValues(keras.initializers.TruncatedNormal):
    """Zeros inside `weights_follow`; for a copy of the layer that is made later, as elsewhere."""

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        if _weights_follow.get():
            return ops.zeros(shape, dtype)
        return super().__call__(shape, dtype)


@keras.saving.register_keras_serializable("tfbert")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2).

    Variables are those of `keras.layers.MultiHeadAttention`. The three projections are one
    product.

    Args:
        num_heads: Number of heads; divides the width of the input.
        dropout: Rate of the dropout on attention probabilities.
        fused: Whether to compute by `fused_attention`, which JAX alone has, without dropout. Read
            when the layer is traced.

    Raises:
        ValueError: If `fused` is not possible.
    """

    def __init__(
        self, num_heads: int, dropout: float = 0.0, fused: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if fused:
            check_fused_attention(dropout)
        self.num_heads = num_heads
        self.dropout = dropout
        self.fused = fused
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
        projected = product(ops.reshape(inputs, (-1, width)), kernel, bias)
        projected = ops.reshape(projected, (batch, tokens, 3, self.num_heads, head_dim))
        query, key, value = ops.unstack(projected, 3, axis=2)  # (batch, tokens, heads, head_dim)
        if self.fused:
            context = fused_attention(query, key, value, padding_mask)
        else:
            context = attention_of_tokens(
                query, key, value, padding_mask, self._dropout_layer, seed
            )
        context = ops.reshape(context, (-1, width))
        kernel = ops.reshape(self.output_dense.kernel, (width, width))
        output = product(context, kernel, self.output_dense.bias)
        return ops.reshape(output, (batch, tokens, width))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "fused": self.fused,
        }

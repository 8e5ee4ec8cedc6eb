"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), with a gradient of its own.

The plain form, for tensors of shape (batch, heads, tokens, head_dim):

    scores = query @ transpose(key) / sqrt(head_dim)        # (batch, heads, tokens, tokens)
    scores = where(padding_mask, scores, -infinity)
    probabilities = softmax(scores)
    output = dropout(probabilities) @ value

`attention` computes the same up to rounding, with fewer passes over the four tensors of shape
(batch, heads, tokens, tokens), which cost more than the products: the factor goes into the query,
the padding mask into key and value, dropout's scale into the value, all of them small; and the
backward pass reads only the probabilities, with and without dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from keras import ops

from tfbert.models.layers.kernels import fused, with_gradient
from tfbert.types import Tensor

if TYPE_CHECKING:
    from tfbert.models.layers.dropout import Dropout


def attention_of_tokens(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    padding_mask: Tensor | None,
    dropout: Dropout | None = None,
    seed: Tensor | None = None,
) -> Tensor:
    """`attention` of tensors in the form of the projections, (batch, tokens, heads, head_dim)."""
    context = attention(
        ops.transpose(query, (0, 2, 1, 3)),
        ops.transpose(key, (0, 2, 3, 1)),
        ops.transpose(value, (0, 2, 1, 3)),
        padding_mask,
        dropout,
        seed,
    )
    return ops.transpose(context, (0, 2, 1, 3))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    padding_mask: Tensor | None,
    dropout: Dropout | None,
    seed: Tensor | None,
) -> Tensor:
    """softmax(query key^T / sqrt(head_dim)) value, with dropout on the probabilities.

    Args:
        query: (batch, heads, tokens, head_dim).
        key: (batch, heads, head_dim, tokens): transposed.
        value: (batch, heads, tokens, head_dim).
        padding_mask: (batch, tokens) of integers, 0 where a token is padding, or None. Padding
            gets no attention; where all tokens are padding, the output is 0.
        dropout: On the probabilities; None for none.
        seed: From `dropout.draw_seed`; None for no dropout.

    Returns:
        (batch, heads, tokens, head_dim), in the dtype of `query`.
    """
    query = query * ops.cast(1 / math.sqrt(query.shape[-1]), query.dtype)
    if padding_mask is not None:
        query, key, value = _masked(query, key, value, padding_mask)
    mask = None
    if dropout is not None and seed is not None:
        shape = ops.shape(query)
        mask = dropout.draw_mask((*shape[:3], shape[2]), seed)
        # Scales the small value, not the probabilities, and rounds once.
        scaled = ops.cast(value, "float32") * (1 / dropout.keep_probability)
        value = ops.cast(scaled, value.dtype)

    @with_gradient
    def core(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Callable]:
        probabilities = ops.softmax(ops.matmul(query, key))  # (batch, heads, tokens, tokens)
        kept = probabilities if mask is None else _selected(mask, probabilities)
        output = ops.matmul(kept, value)
        return output, _gradient(query, key, value, probabilities, kept, output)

    return core(query, key, value)


def _masked(query, key, value, padding_mask):
    """Puts the padding mask into query, key and value, where it costs nearly nothing.

    A column of ones in the query and a row of biases in the key add the bias to each score inside
    the product; the values of padding are 0.
    """
    dtype = query.dtype
    is_token = ops.cast(ops.not_equal(padding_mask, 0), dtype)[:, None, :, None]
    lowest = -3e4 if dtype == "float16" else -1e9
    bias = (1 - ops.transpose(is_token, (0, 1, 3, 2))) * ops.cast(lowest, dtype)
    shape = ops.shape(key)
    bias = ops.broadcast_to(bias, (shape[0], shape[1], 1, shape[3]))
    query = ops.concatenate([query, ops.ones_like(query[..., :1])], axis=-1)
    return query, ops.concatenate([key, bias], axis=2), value * is_token


def _gradient(query, key, value, probabilities, kept, output):
    """The function from the output's gradient to those of query, key and value."""

    def gradient(upstream):
        # sum_k P_k dP_k of the softmax's gradient, from the small tensors: the same sum runs in
        # upstream . output (Dao et al. 2022, section 3.1).
        products = ops.cast(upstream, "float32") * ops.cast(output, "float32")
        weighted_sum = ops.sum(products, axis=-1, keepdims=True)
        d_kept = ops.matmul(upstream, _transposed(value))
        if kept is probabilities:
            d_scores = _softmax_gradient(probabilities, d_kept, weighted_sum)
        else:
            d_scores = _dropped_softmax_gradient(probabilities, kept, d_kept, weighted_sum)
        d_query = ops.matmul(d_scores, _transposed(key))
        # Transposes only small tensors.
        d_key = ops.matmul(_transposed(query), d_scores)
        d_value = _transposed(ops.matmul(_transposed(upstream), kept))
        return d_query, d_key, d_value

    return gradient


@fused
def _selected(mask, values):
    return ops.where(mask, values, ops.cast(0, values.dtype))


@fused
def _softmax_gradient(probabilities, upstream, mean):
    p, upstream = ops.cast(probabilities, "float32"), ops.cast(upstream, "float32")
    return ops.cast(p * (upstream - mean), probabilities.dtype)


@fused
def _dropped_softmax_gradient(probabilities, kept, upstream, mean):
    p, kept, upstream = (ops.cast(t, "float32") for t in (probabilities, kept, upstream))
    return ops.cast(kept * upstream - p * mean, probabilities.dtype)


def _transposed(tensor):
    return ops.transpose(tensor, (0, 1, 3, 2))

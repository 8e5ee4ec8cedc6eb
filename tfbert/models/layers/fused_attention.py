"""Scaled dot-product attention as one kernel of the device, which keeps no probabilities."""

from __future__ import annotations

import keras
from keras import ops

from tfbert.types import Tensor


def check_fused_attention(dropout: float) -> None:
    """Raises ValueError where `fused_attention` cannot take the place of `attention`."""
    if keras.backend.backend() != "jax":
        raise ValueError("fused_attention runs on Keras' JAX backend alone: set KERAS_BACKEND=jax")
    if dropout:
        raise ValueError(f"fused_attention has no dropout: attention_dropout is {dropout}, not 0")


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor | None
) -> Tensor:
    """`attention` without dropout, as JAX computes it: on NVIDIA GPUs from Ampere on by cuDNN.

    It is no faster everywhere: measure it.

    Args:
        query, key, value: (batch, tokens, heads, head_dim).
        padding_mask: As in `attention`; each row has its own.

    Returns:
        (batch, tokens, heads, head_dim), in the dtype of `query`.
    """
    import jax

    is_16_bit = keras.backend.standardize_dtype(query.dtype) in ("bfloat16", "float16")
    by_cudnn = jax.default_backend() == "gpu" and is_16_bit
    mask = None
    if padding_mask is not None:
        is_token = ops.not_equal(padding_mask, 0)
        mask = ops.broadcast_to(
            is_token[:, None, None, :], (*query.shape[:1], 1, *query.shape[1:2], *key.shape[1:2])
        )
        # Where all tokens are padding, the mean of their values is 0.
        value = value * ops.cast(is_token, value.dtype)[:, :, None, None]
    return jax.nn.dot_product_attention(
        query, key, value, mask=mask, implementation="cudnn" if by_cudnn else "xla"
    )

"""Scaled dot-product attention as one kernel of the device, which keeps no probabilities."""

from __future__ import annotations

import keras
from keras import ops

from tfbert.hardware.jax_devices import gpu_capabilities
from tfbert.types import Tensor

_AMPERE = (8, 0)  # the first compute capability that cuDNN has its kernel for
_LARGEST_HEAD = 128


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

    It is not faster everywhere: `attention_choice` measures it.

    Args:
        query, key, value: (batch, tokens, heads, head_dim).
        padding_mask: As in `attention`; each row has its own.

    Returns:
        (batch, tokens, heads, head_dim), in the dtype of `query`.
    """
    import jax

    mask = None
    if padding_mask is not None:
        is_token = ops.not_equal(padding_mask, 0)
        mask = ops.broadcast_to(
            is_token[:, None, None, :], (*query.shape[:1], 1, *query.shape[1:2], *key.shape[1:2])
        )
        # Where all tokens are padding, the mean of their values is 0.
        value = value * ops.cast(is_token, value.dtype)[:, :, None, None]
    return jax.nn.dot_product_attention(
        query, key, value, mask=mask, implementation="cudnn" if _by_cudnn(query) else "xla"
    )


def _by_cudnn(query: Tensor) -> bool:
    """Whether cuDNN has a kernel for such tensors on this machine's GPUs."""
    is_16_bit = keras.backend.standardize_dtype(query.dtype) in ("bfloat16", "float16")
    head_dim = query.shape[-1]
    capabilities = gpu_capabilities()
    has_kernel = bool(capabilities) and min(capabilities) >= _AMPERE
    return has_kernel and is_16_bit and head_dim <= _LARGEST_HEAD and head_dim % 8 == 0

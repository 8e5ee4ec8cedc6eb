"""Which form attention has in a training: `attention`, or one kernel of the device.

Both are possible on JAX where no dropout falls on attention probabilities. Which one is faster
depends on the device, the shapes and the libraries: on an accelerator it is measured.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbert.errors import InputError, first_line
from tfbert.hardware.jax_devices import JaxDevices, gpu_capabilities
from tfbert.hardware.strategies import backend, is_chief, sum_over_workers
from tfbert.models.layers.attention import attention_of_tokens
from tfbert.models.layers.fused_attention import fused_attention
from tfbert.types import Tensor

if TYPE_CHECKING:
    from tfbert.hardware.strategies import Strategy
    from tfbert.models.encoder import BertEncoder

log = logging.getLogger("tfbert")

_FORMS: dict[str, Callable[..., Tensor]] = {"plain": attention_of_tokens, "fused": fused_attention}
# Layers in one call, so that starting the call does not count, and calls of which the fastest does.
_LAYERS, _CALLS = 12, 5


def choose_attention(
    requested: str,
    backbone: BertEncoder,
    devices: Strategy,
    rows: int,
    length: int,
    earlier: str | None = None,
) -> str:
    """The form of attention of a training; each process of several must call this.

    Args:
        requested: `plain`, `fused`, or `auto`: the faster one where both are possible, by a
            measurement on the first process' first device. On a CPU it is the plain one.
        rows, length: What a device computes at once, in sequences and tokens.
        earlier: What was measured when the run began: it goes on with the same arithmetic.

    Returns:
        `plain` or `fused`.

    Raises:
        InputError: If `fused` is not possible.
    """
    rate = backbone.dropout if backbone.attention_dropout is None else backbone.attention_dropout
    if requested == "fused":
        if backend() != "jax":
            raise InputError("--attention fused: runs on JAX alone: give --backend jax")
        if rate:
            raise InputError(
                "--attention fused: has no dropout on attention probabilities, whose rate is "
                f"{rate}: give --attention-dropout 0"
            )
        if isinstance(devices, JaxDevices) and devices.platform == "cpu" and gpu_capabilities():
            raise InputError(
                "--attention fused: the kernel would be that of this machine's GPU, and the CPU "
                "was asked for: give --attention plain"
            )
    if requested != "auto":
        return requested
    if not isinstance(devices, JaxDevices) or devices.platform == "cpu":
        return "plain"
    if rate:
        if is_chief(devices):
            _say_why_plain()
        return "plain"
    is_fused = False
    if is_chief(devices):
        head_dim = backbone.hidden_dim // backbone.num_heads
        shape = rows, length, backbone.num_heads, head_dim
        device = devices.local_devices[0]
        dtype = backbone.transformer_layers[0].compute_dtype
        is_fused = (earlier or _faster(shape, dtype, device)) == "fused"
    return "fused" if sum_over_workers(devices, is_fused) else "plain"


def use_attention(backbone: BertEncoder, form: str) -> None:
    """Gives an encoder this form of attention, from the next time on that it is traced."""
    for layer in backbone.transformer_layers:
        layer.use_fused_attention(form == "fused")
    backbone.fused_attention = form == "fused"


@functools.cache
def _say_why_plain() -> None:
    """Once, and not for every phase."""
    log.info(
        "attention: plain, as dropout falls on its probabilities (--attention-dropout 0: none "
        "does, and a fused kernel is tried)"
    )


@functools.cache
def _faster(shape: tuple[int, int, int, int], dtype: str, device: Any) -> str:
    """The faster form, and a log line with both times; phases of the same shape share them."""
    seconds, words = {}, []
    for form in _FORMS:
        try:
            seconds[form] = seconds_of_attention(form, shape, dtype, device)
            words.append(f"{form} {1e3 * seconds[form]:.3f} ms")
        # What a device's compiler says of a kernel that it lacks is not documented.
        except Exception as error:
            words.append(f"{form} cannot be computed ({first_line(error)[:200]})")
    best = min(seconds, key=lambda form: seconds[form], default="plain")
    log.info(
        "attention: %s, as measured on %s: a layer's forward and backward pass, %d x %d tokens: %s",
        *(best, device.device_kind, *shape[:2], ", ".join(words)),
    )
    return best


def seconds_of_attention(
    form: str, shape: tuple[int, int, int, int], dtype: str, device: Any
) -> float:
    """Seconds of a layer's attention, forward and backward, without projections and dropout.

    Args:
        form: `plain` or `fused`.
        shape: (rows, tokens, heads, head_dim).
        device: A `jax.Device`.
    """
    import jax

    attend = _FORMS[form]
    random = np.random.default_rng(0)
    lengths = random.integers(shape[1] // 2, shape[1] + 1, (shape[0], 1))
    padding_mask = (np.arange(shape[1]) < lengths).astype(np.int32)

    def layers(tensors: tuple, padding_mask: Any) -> tuple:
        def layer(_: Any, tensors: tuple) -> tuple:
            *inputs, upstream = tensors
            output, gradient = jax.vjp(lambda *qkv: attend(*qkv, padding_mask), *inputs)
            # Each is the input of the next layer: none can be left out.
            return (*gradient(upstream), output)

        return jax.lax.fori_loop(0, _LAYERS, layer, tensors)

    tensors = tuple(random.normal(size=shape).astype(np.float32) for _ in range(4))
    placed, padding_mask = jax.device_put((tensors, padding_mask), device)
    placed = tuple(tensor.astype(dtype) for tensor in placed)
    compiled = jax.jit(layers)
    jax.block_until_ready(compiled(placed, padding_mask))
    times = []
    for _ in range(_CALLS):
        began = time.perf_counter()
        jax.block_until_ready(compiled(placed, padding_mask))
        times.append(time.perf_counter() - began)
    return min(times) / _LAYERS

"""From the batch of a recipe to the micro-batches that a device computes one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfbert.errors import InputError

if TYPE_CHECKING:
    from tfbert.recipes.phases import Phase


def accumulate_steps(
    global_batch_size: int, per_device_batch_size: int | None, replicas: int
) -> int:
    """How many micro-batches a replica's share of the global batch is divided into.

    Args:
        global_batch_size: Examples an update, over all replicas together.
        per_device_batch_size: Examples that one device computes at once; None means its whole
            share.

    Raises:
        InputError: If the global batch is not a multiple of what all devices compute at once.
    """
    if per_device_batch_size is None:
        return 1
    at_once = per_device_batch_size * replicas
    if global_batch_size % at_once:
        nearest = max(1, round(global_batch_size / at_once)) * at_once
        raise InputError(
            f"--global-batch-size {global_batch_size} is not a multiple of --per-device-batch-size "
            f"{per_device_batch_size} x {replicas} replica(s) = {at_once}; {nearest} is"
        )
    return global_batch_size // at_once


def accumulate_steps_of(phase: Phase, replicas: int, device_tokens: int) -> int:
    """`accumulate_steps` of a phase of pre-training.

    Args:
        device_tokens: Tokens that a device computes at once, where the phase does not say.

    Raises:
        InputError: If the batch cannot be divided that way.
    """
    size = phase.per_device_batch_size
    if phase.global_batch_size % replicas:
        nearest = max(1, round(phase.global_batch_size / replicas)) * replicas
        raise InputError(
            f"--global-batch-size {phase.global_batch_size} cannot be divided among {replicas} "
            f"devices; {nearest} can"
        )
    if size is None:
        share = max(1, phase.global_batch_size // replicas)
        limit = min(share, max(1, device_tokens // phase.sequence_length))
        size = next(size for size in range(limit, 0, -1) if share % size == 0)
    return accumulate_steps(phase.global_batch_size, size, replicas)

"""Turns exhausted memory into one line with a way out."""

import contextlib
from collections.abc import Iterator

from tfbert.errors import MachineError


@contextlib.contextmanager
def out_of_memory_advice(
    batch_size: int,
    max_length: int,
    others: str = "",
    option: str = "--batch-size",
    value: int | None = None,
) -> Iterator[None]:
    """Names what to make smaller when a device's memory is not enough.

    Args:
        batch_size: Examples a step.
        max_length: Tokens of the longest of them.
        others: What else may help, as the end of a sentence.
        option: The option that makes batches smaller.
        value: What to give it; by default half of `batch_size`, and 0 where nothing is less.

    Raises:
        MachineError: In place of TensorFlow's `ResourceExhaustedError`, JAX' `JaxRuntimeError` of
            that kind, or a `MemoryError`.
    """
    try:
        yield
    except Exception as error:
        if not _is_exhausted(error):
            raise
        value = batch_size // 2 if value is None else value
        remedy = f"{option} {value}{others}" if value else others.removeprefix(", ")
        raise MachineError(
            f"out of memory with batches of {batch_size} x {max_length} tokens: try {remedy}"
        ) from error


def _is_exhausted(error: Exception) -> bool:
    """By the names of its classes: neither library need be imported."""
    names = {kind.__name__ for kind in type(error).__mro__}
    of_jax = "JaxRuntimeError" in names and "RESOURCE_EXHAUSTED" in str(error)
    return isinstance(error, MemoryError) or "ResourceExhaustedError" in names or of_jax

"""How long work shows its progress: a bar over bytes, times in words."""

from __future__ import annotations

import sys

from tqdm import tqdm


def byte_bar(size: int | None, description: str, shown: bool) -> tqdm:
    """A bar over bytes, on standard error, with MB/s and the time left.

    Args:
        size: Bytes in all; None where that is not known.
        description: What is being done, in a word.
        shown: Whether to show it.
    """
    return tqdm(
        total=size, desc=description, unit="B", unit_scale=True, disable=not shown, file=sys.stderr
    )


def duration(seconds: float) -> str:
    """A time in words: `45 s`, `12 min`, `3 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"

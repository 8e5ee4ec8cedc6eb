"""How long work shows its progress: a bar over bytes, times in words."""

from __future__ import annotations

import math
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


def duration(seconds: float, exact: bool = False) -> str:
    """A time in words, for an estimate or for a time that was measured.

    Args:
        seconds: The time; below 0, as clocks that differ make it, it counts as 0 where `exact`.
        exact: Whether the last second has ended and seconds stand behind minutes: `12 min 30 s`.
            Without it the time is rounded: `45 s`, `12 min`, `3 h 5 min`.
    """
    if exact:
        seconds = max(0, math.floor(seconds))
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = seconds // 60 if exact else round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60} s" if exact else f"{minutes} min"

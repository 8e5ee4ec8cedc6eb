"""Which epoch's weights a fine-tuning ends with, and the line that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfbert.recovery.checkpoints import restore_best_weights
from tfbert.recovery.recovery_options import Recovery

if TYPE_CHECKING:
    import keras


def keep_epoch(which: str, model: keras.Model, recovery: Recovery, epochs: int) -> int:
    """Restores the best epoch's weights after `fit`, where they are wanted.

    Args:
        which: `best` or `last`, as in `FinetuneConfig`.
        recovery: That of the `fit`.
        epochs: How many were trained.

    Returns:
        The epoch whose weights the model has now, counted from 1. It is the last one, too, where
        no checkpoint of the best could be kept.
    """
    best = restore_best_weights(model, recovery) if which == "best" else None
    return epochs if best is None else best + 1


def kept_epoch_line(which: str, kept: int, metric: str, values: Sequence[float]) -> str:
    """The kept epoch in words, and what another one has on the evaluation examples.

    Args:
        which, kept: As in `keep_epoch`.
        metric: The problem's main metric.
        values: Of each epoch; empty where they are not known.
    """
    if not values:
        return f"kept epoch {kept}"
    name = metric.replace("_", " ")
    last, best = values[-1], max(values)
    line = f"kept epoch {kept} of {len(values)}: evaluation {name} {values[kept - 1]:.4f}"
    if which == "best" and kept < len(values):
        return f"{line}, that of the last is {last:.4f} (--keep-epoch last keeps it)"
    if last < best:
        others = f"that of epoch {values.index(best) + 1} is {best:.4f}"
        return f"{line}, {others} (--keep-epoch best keeps it)"
    return line

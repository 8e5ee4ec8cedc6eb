"""Which epoch's weights a fine-tuning ends with, and the line that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfbert.optimizers.loss_scale import innermost
from tfbert.recovery.checkpoints import restore_best_weights
from tfbert.recovery.recovery_options import Recovery
from tfbert.recovery.snapshot import state_variables

if TYPE_CHECKING:
    import keras


class KeptEpoch(NamedTuple):
    """The epoch whose weights a model has.

    Args:
        number: Counted from 1.
        updates: How many made these weights, as the optimizer counts them.
    """

    number: int
    updates: int


def keep_epoch(which: str, model: keras.Model, recovery: Recovery, epochs: int) -> KeptEpoch:
    """Restores the best epoch's weights after `fit`, where they are wanted.

    Args:
        which: `best` or `last`, as in `FinetuneConfig`.
        recovery: That of the `fit`.
        epochs: How many were trained.

    Returns:
        The `KeptEpoch`. It is the last one, too, where no checkpoint of the best could be kept.
    """
    best = restore_best_weights(model, recovery) if which == "best" else None
    count = innermost(model.optimizer).iterations
    if best is None:
        return KeptEpoch(epochs, int(np.array(count)))
    name = next(name for name, v in state_variables(model).items() if v is count)
    return KeptEpoch(best.state["best"]["epoch"] + 1, int(best.tensors[name]))


def kept_epoch_line(which: str, kept: int, metric: str, values: Sequence[float]) -> str:
    """The kept epoch in words, and what another one has on the evaluation examples.

    Args:
        which: As in `keep_epoch`.
        kept: The epoch, counted from 1.
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

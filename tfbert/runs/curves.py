"""Reads back what training wrote for TensorBoard."""

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Point(NamedTuple):
    """A point of a curve.

    Args:
        update: Number of the update.
        value: Float.
        seconds: Since the first point of the training curves was written.
    """

    update: int
    value: float
    seconds: float


def read_curves(run, part="train"):
    """The curves of a run.

    Args:
        run: Path of the run directory.
        part: `train` or `evaluation`.

    Returns:
        By name, a list of `Point`.
    """
    runs = {name: _read_events(Path(run) / "logs" / name) for name in ("train", "evaluation")}
    times = [
        event.wall_time for curves in runs.values() for curve in curves.values() for event in curve
    ]
    return {
        name: [Point(event.step, _value(event), event.wall_time - min(times)) for event in events]
        for name, events in runs[part].items()
    }


def epoch_speeds(run, epochs):
    """Examples a second in each epoch of a fine-tuning, evaluation not counted.

    The first epoch is slower by the time that tracing and compilation take.

    Args:
        run: Path of the run directory.
        epochs: How many it had.

    Returns:
        (epochs,) float64.
    """
    points = read_curves(run)["examples_per_second"]
    ends = np.array([point.update for point in points])
    updates = np.diff(ends, prepend=0)
    seconds = updates / [point.value for point in points]  # times the batch size
    epoch = (ends - 1) * epochs // ends[-1]
    return np.bincount(epoch, updates) / np.bincount(epoch, seconds)


def _read_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # Without the 0 it would keep a sample of ten points.
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {name: events.Tensors(name) for name in events.Tags()["tensors"]}


def _value(event):
    import tensorflow as tf

    return float(tf.make_ndarray(event.tensor_proto))

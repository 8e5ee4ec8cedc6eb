"""The curves of a run: written for TensorBoard while it trains, and read back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbert.io.whole import saving

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter


class CurveWriter:
    """Writes points of curves: `train/` and `evaluation/` in a folder.

    Args:
        directory: Where TensorBoard looks, local or `gs://`.
    """

    def __init__(self, directory: Any) -> None:
        # TensorBoard's own: TensorFlow's writes the same, where it is installed.
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._directory = directory
        with saving(directory):
            self._train = EventFileWriter(str(directory / "train"))
            self._evaluation = EventFileWriter(str(directory / "evaluation"))

    def training(self, update: int, values: Mapping[str, float]) -> None:
        """Writes points of the training curves."""
        self._write(self._train, update, values)

    def evaluation(self, update: int, logs: Mapping[str, float] | None) -> dict[str, float]:
        """Writes the values of an evaluation from an epoch's logs.

        Returns:
            The values without the `val_` of their names; empty where there was no evaluation.
        """
        values = {
            name.removeprefix("val_"): value
            for name, value in (logs or {}).items()
            if name.startswith("val_")
        }
        self._write(self._evaluation, update, values)
        return values

    def close(self) -> None:
        """Closes the files."""
        self._train.close()
        self._evaluation.close()

    def _write(self, writer: EventFileWriter, update: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        with saving(self._directory):
            for name, value in values.items():
                summary = scalar_pb(name, float(value))
                writer.add_event(Event(step=update, wall_time=time.time(), summary=summary))
            writer.flush()


class Point(NamedTuple):
    """A point of a curve.

    Args:
        seconds: Since the first point of the training curves was written.
    """

    update: int
    value: float
    seconds: float


def read_curves(run: str | Path, part: str = "train") -> dict[str, list[Point]]:
    """The curves of a run, by name.

    Args:
        part: `train` or `evaluation`.
    """
    runs = {name: _read_events(Path(run) / "logs" / name) for name in ("train", "evaluation")}
    times = [
        event.wall_time for curves in runs.values() for curve in curves.values() for event in curve
    ]
    return {
        name: [Point(event.step, _value(event), event.wall_time - min(times)) for event in events]
        for name, events in runs[part].items()
    }


def epoch_speeds(run: str | Path, epochs: int) -> np.ndarray:
    """Examples a second in each epoch of a fine-tuning, evaluation not counted.

    The first epoch is slower by the time that tracing and compilation take.

    Returns:
        (epochs,) float64.
    """
    points = read_curves(run)["examples_per_second"]
    ends = np.array([point.update for point in points])
    updates = np.diff(ends, prepend=0)
    seconds = updates / [point.value for point in points]  # times the batch size
    epoch = (ends - 1) * epochs // ends[-1]
    return np.bincount(epoch, updates) / np.bincount(epoch, seconds)


def _read_events(folder: Path) -> dict[str, list[Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # Without the 0 it would keep a sample of ten points.
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    return {name: events.Tensors(name) for name in events.Tags()["tensors"]}


def _value(event: Any) -> float:
    from tensorboard.util.tensor_util import make_ndarray

    return float(make_ndarray(event.tensor_proto))

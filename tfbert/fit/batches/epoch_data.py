"""The data of `fit`, `evaluate` and `predict`, epoch by epoch, whatever its kind."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

from tfbert.fit import engine, keras_internals

log = logging.getLogger("tfbert")

# An evaluation of one's own: from a function that says whether to stop at once to metrics by name.
Evaluation: TypeAlias = Callable[[Callable[[], bool]], dict[str, float]]


class BatchSource(Protocol):
    """Data whose batches are a function of epoch and step, so that training can start at any.

    `steps_per_epoch` is a number; `dataset(epoch, step)` is a `tf.data.Dataset` of global batches
    from there on, through all further epochs, without end; under JAX it is an iterable of
    structures of NumPy arrays, of as few shapes as possible: each shape is compiled for. Where
    epochs differ in length, a method `steps_in(epoch)` returns the steps of one, and
    `steps_per_epoch` is the longest. Where batches differ in size, a method
    `examples_in(epoch, first, last)` returns the examples of some steps.
    """

    steps_per_epoch: int

    def dataset(self, epoch: int, step: int) -> Any:
        """Global batches from that step of that epoch on."""


class Reading:
    """The iterator of a feed. What refers to this instead of the iterator never waits to free it.

    tf.data's tuning thread sleeps longer and longer, up to a minute, and to free an iterator of
    TensorFlow 2.20 at times waits until it wakes: 4.7 s after 5.5 s of reading. So a tuned one is
    freed in a thread of its own.
    """

    def __init__(self, feed: Any) -> None:
        self.iterator: Iterator[Any] = iter(feed)
        self._is_slow = feed.is_slow_to_free

    def __del__(self) -> None:
        # At the end of the interpreter there are no new threads; the process frees it then.
        if getattr(self, "_is_slow", False) and not sys.is_finalizing():
            last = [self.iterator]
            del self.iterator
            threading.Thread(target=last.clear, daemon=True).start()


class Execution:
    """One call of a training, test or predict function: steps `begin` to `end`, both included.

    Args:
        begin, end: Steps, counted from 0 in their epoch. After `run`, `end` is the last step that
            there was data for, or `begin - 1` if there was none.
        reading: Of the distributed batches.
        is_sure: Whether the data is known to suffice.
    """

    def __init__(self, begin: int, end: int, reading: Reading, is_sure: bool) -> None:
        self.begin = begin
        self.end = end
        self._reading = reading
        self.is_sure = is_sure

    @property
    def iterator(self) -> Iterator[Any]:
        """Over the distributed batches."""
        return self._reading.iterator

    def run(self, function: Callable[..., tuple[Any, Any]]) -> Any:
        """Calls a function as `engine.run_steps` returns it, and returns its results."""
        results, done = function(self.iterator, self.end - self.begin + 1, self.is_sure)
        if not self.is_sure:  # to read the number would wait for the device
            self.end = self.begin + int(done) - 1
        return results

    @property
    def is_empty(self) -> bool:
        """Whether the data had already ended, so that no step was run."""
        return self.end < self.begin


class EpochData:
    """The data of `fit`, `evaluate` or `predict`.

    Args:
        x: Arrays, a `tf.data.Dataset` of global batches, a `keras.utils.PyDataset`, a generator, a
            `BatchSource`, a `tf.distribute.DistributedDataset`, or under JAX an iterable of
            batches that has a length.
        steps: Steps an epoch; by default as many as the data has.
        start: (epoch, step) at which a `BatchSource` begins; other data always begin at 0.
        class_weight: Of `checked_class_weights`, or None.
        arguments: The further arguments of Keras' data adapters: y, sample_weight, batch_size,
            shuffle.

    Raises:
        ValueError: If there is no batch, or the data takes no class weights.
    """

    def __init__(
        self,
        strategy: Any,
        x: Any,
        steps: int | None = None,
        start: tuple[int, int] = (0, 0),
        class_weight: dict[int, float] | None = None,
        **arguments: Any,
    ) -> None:
        self._strategy = strategy
        self._class_weight = class_weight
        self._adapter = None
        self._reading: Reading | None = None
        self._limit = steps
        is_source = engine.is_batch_source(x)
        self._position = start if is_source else (start[0], 0)
        self._lengths: Callable[[int], int] | None = None
        self.source = x if is_source else None
        if is_source:
            self.steps = steps or x.steps_per_epoch
            self._lengths = None if steps else getattr(x, "steps_in", None)
            self._limit = self.steps
            self._feed = engine.source_feed(strategy, x, start, class_weight)
        elif engine.is_divided(x):
            self._feed, size = engine.ready_feed(strategy, x, class_weight)
            self.steps = steps or size
        else:
            self._adapter = keras_internals.data_adapter(x=x, steps_per_epoch=steps, **arguments)
            self.steps = steps or self._adapter.num_batches
            self._feed = engine.adapter_feed(strategy, self._adapter, class_weight)
        if self.steps == 0:
            raise ValueError("the data gave no batch")
        # Steps that a user asks for may be more than the data has.
        self._is_sure = is_source or (not steps and self.steps is not None)

    def steps_in(self, epoch: int) -> int | None:
        """Steps of an epoch, or None where they are not known."""
        return self.steps if self._lengths is None else self._lengths(epoch)

    @property
    def spec(self) -> Any:
        """Structure of `keras.KerasTensor` as a replica's part of a batch."""
        return self._feed.spec

    def check_shapes(self) -> None:
        """Raises ValueError where a TPU, which compiles for one shape, would get several."""
        self._feed.check_shapes()

    def executions(
        self, size: int, first_step: int = 0, end: int | None = None
    ) -> Iterator[Execution]:
        """One epoch, as `Execution`s of up to `size` steps; it ends where the data does.

        With `steps` given, or a `BatchSource`, an epoch continues where the last one ended.

        Args:
            size: Steps an execution.
            first_step: Step of the epoch to begin with.
            end: Step before which to stop, if the epoch does not end there.
        """
        if first_step == 0 or self._reading is None:
            if self._adapter:
                self._adapter.on_epoch_begin()
            if self._reading is None or not self._limit:
                self._reading = Reading(self._feed)
        stop = self.steps_in(self._position[0]) if end is None else end
        begins: Iterable[int] = itertools.count(first_step, size)
        if stop is not None:
            begins = range(first_step, stop, size)
        for begin in begins:
            last = begin + size - 1 if stop is None else min(begin + size, stop) - 1
            self._position = (self._position[0], last + 1)
            execution = Execution(begin, last, self._reading, self._is_sure)
            yield execution
            if execution.end < last:
                self._exhausted(execution.end + 1)
                return
        if end is None:
            self._end_epoch()

    def start_at(self, epoch: int) -> None:
        """Counts the epochs from that one on; a `BatchSource` begins with it."""
        if self.source is not None:
            self.seek(epoch, 0)
        self._position = (epoch, 0)

    def seek(self, epoch: int, step: int) -> None:
        """Continues with that step of that epoch, when training is resumed.

        Data that is not a `BatchSource` is read up to there, in the time that this takes, and
        dropped; so it can only go forward.
        """
        if (epoch, step) == self._position:
            return
        if self.source is not None:
            self._feed = engine.source_feed(
                self._strategy, self.source, (epoch, step), self._class_weight
            )
            self._reading = None
        else:
            log.warning(
                "the data is read from its beginning up to step %d of epoch %d: it cannot start "
                "there, as a BatchSource can",
                step,
                epoch + 1,
            )
            while self._position[0] < epoch:
                self._pass_over(None)
            if step:
                self._pass_over(step)
        self._position = (epoch, step)

    def _pass_over(self, end: int | None) -> None:
        """Reads the batches before step `end` of the epoch, or all of it, and drops them."""
        for execution in self.executions(1, end=end):
            try:
                next(execution.iterator)
            except engine.END_OF_DATA:
                execution.end = execution.begin - 1

    def _exhausted(self, steps: int) -> None:
        """Ends an epoch whose data ended after so many steps."""
        if self._limit and steps < self._limit:
            warnings.warn(
                f"the data ended after {steps} of {self._limit} steps; give a dataset that "
                "repeats, or fewer steps_per_epoch",
                stacklevel=3,
            )
        elif not self._limit:
            self.steps = steps or None
        self._reading = None
        self._end_epoch()

    def _end_epoch(self) -> None:
        self._position = (self._position[0] + 1, 0)
        if not self._limit:
            self._reading = None
        if self._adapter:
            self._adapter.on_epoch_end()


def require_some(results: Any) -> None:
    """Raises ValueError unless a step left results."""
    if not results:
        raise ValueError("the data gave no batch")

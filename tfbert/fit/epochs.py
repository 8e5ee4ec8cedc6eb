"""Anything that `fit` takes, divided among the replicas and handed out epoch by epoch."""

import itertools
import logging
import warnings
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import tensorflow as tf

from tfbert.fit import keras_internals

log = logging.getLogger("tfbert")


@runtime_checkable
class BatchSource(Protocol):
    """Data whose batches are a function of epoch and step, so that training can start at any.

    `steps_per_epoch` is a number; `dataset(epoch, step)` is a `tf.data.Dataset` of global batches
    from there on, through all further epochs, without end. Where epochs differ in length, a method
    `steps_in(epoch)` gives the steps of one, and `steps_per_epoch` is the longest. Where batches
    differ in size, a method `examples_in(epoch, first, last)` gives the examples of some steps.
    """

    steps_per_epoch: int

    def dataset(self, epoch, step):
        """A `tf.data.Dataset` of global batches from that step of that epoch on."""


class Execution(NamedTuple):
    """One call of the training function: steps `begin` to `end`, both included.

    Args:
        begin, end: Steps, counted from 0 in their epoch.
        iterator: Iterator over the distributed batches.
        is_sure: Whether the data is known to suffice.
    """

    begin: int
    end: int
    iterator: Any
    is_sure: bool


class EpochData:
    """The data of `fit`, `evaluate` or `predict`.

    Args:
        strategy: `tf.distribute.Strategy`.
        x: Arrays, a `tf.data.Dataset` of global batches, a `keras.utils.PyDataset`, a generator, a
            `tf.distribute.DistributedDataset`, or a `BatchSource`.
        steps: Steps an epoch; by default as many as the data gives.
        start: (epoch, step) at which a `BatchSource` begins; other data always begin at 0.
        arguments: The further arguments of Keras' data adapters: y, sample_weight, batch_size,
            shuffle, class_weight.
    """

    def __init__(self, strategy, x, steps=None, start=(0, 0), **arguments):
        self._strategy = strategy
        self._adapter = None
        self._iterator = None
        self._limit = steps
        self._position = start if isinstance(x, BatchSource) else (start[0], 0)
        self._lengths = None
        self.source = x if isinstance(x, BatchSource) else None
        if self.source is not None:
            self.steps = steps or x.steps_per_epoch
            self._lengths = None if steps else getattr(x, "steps_in", None)
            self._limit = self.steps
            self._dataset = distributed(strategy, x.dataset(*start))
        elif isinstance(x, tf.distribute.DistributedDataset):
            size = int(x.cardinality)
            self.steps = steps or (size if size >= 0 else None)
            self._dataset = x
        else:
            self._adapter = keras_internals.data_adapter(x=x, steps_per_epoch=steps, **arguments)
            self.steps = steps or self._adapter.num_batches
            self._dataset = distributed(strategy, self._adapter.get_tf_dataset())
        if self.steps == 0:
            raise ValueError("the data gave no batch")
        # Steps that a user asks for may be more than the data has.
        self._is_sure = isinstance(x, BatchSource) or (not steps and self.steps is not None)

    def steps_in(self, epoch):
        """Steps of an epoch, or None where they are not known."""
        if self._lengths is not None:
            return self._lengths(epoch)
        return self.steps

    @property
    def spec(self):
        """Structure of `keras.KerasTensor` as one replica's part of a batch."""

        def symbolic(spec):
            if isinstance(spec, tf.experimental.Optional) or not hasattr(spec, "dtype"):
                return None
            return keras.KerasTensor(tuple(spec.shape), spec.dtype.name)

        def of_one_replica(spec):
            return getattr(spec, "_value_specs", (spec,))[0]

        per_replica = tf.nest.map_structure(of_one_replica, self._dataset.element_spec)
        return tf.nest.map_structure(symbolic, per_replica)

    def start_at(self, epoch):
        """Takes the first epoch for that one; a `BatchSource` begins with it."""
        if self.source is not None:
            self.seek(epoch, 0)
        self._position = (epoch, 0)

    def seek(self, epoch, step):
        """Goes on with that step of that epoch, when training is resumed.

        Other data than a `BatchSource` is read up to there and thrown away, which takes as long
        as reading it does; so it can only go forward.
        """
        if (epoch, step) == self._position:
            return
        if self.source is not None:
            self._dataset = distributed(self._strategy, self.source.dataset(epoch, step))
            self._iterator = None
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

    def _pass_over(self, end):
        for execution in self.executions(1, end=end):
            try:
                next(execution.iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                self.exhausted(execution.begin)
                return

    def executions(self, size, first_step=0, end=None):
        """One epoch, as `Execution`s of up to `size` steps.

        With `steps` given, or a `BatchSource`, an epoch goes on where the last one ended.

        Args:
            size: Steps an execution.
            first_step: Step of the epoch to begin with.
            end: Step to end before, if the epoch does not end here.
        """
        if first_step == 0 or self._iterator is None:
            if self._adapter:
                self._adapter.on_epoch_begin()
            if self._iterator is None or not self._limit:
                self._iterator = iter(self._dataset)
        stop = self.steps_in(self._position[0]) if end is None else end
        begins = itertools.count(first_step, size)
        if stop is not None:
            begins = range(first_step, stop, size)
        for begin in begins:
            last = begin + size - 1 if stop is None else min(begin + size, stop) - 1
            self._position = (self._position[0], last + 1)
            yield Execution(begin, last, self._iterator, self._is_sure)
        if end is None:
            self._end_epoch()

    def exhausted(self, steps):
        """To be told when the data ended after that many steps of an epoch."""
        if self._limit and steps < self._limit:
            warnings.warn(
                f"the data ended after {steps} of {self._limit} steps; give a dataset that "
                "repeats, or fewer steps_per_epoch",
                stacklevel=3,
            )
        elif not self._limit:
            self.steps = steps or None
        self._iterator = None
        self._end_epoch()

    def _end_epoch(self):
        self._position = (self._position[0] + 1, 0)
        if not self._limit:
            # Now and not an epoch later: the older an iterator, the longer tf.data lets one wait
            # that lets go of it (see `tfbert.hardware.input_pipeline.untuned`).
            self._iterator = None
        if self._adapter:
            self._adapter.on_epoch_end()


def run_epoch(executions, exhausted, function, on_begin, on_end, stops, logs=None):
    """Calls a function of `run_steps` for every execution of an epoch, and callbacks around it.

    Args:
        executions: Iterable of `Execution`.
        exhausted: Function of the number of steps after which the data has ended.
        function: Function of an iterator, a number of steps and whether the data suffices for
            them, to (logs, steps done).
        on_begin: Function of a step, before it.
        on_end: Function of a step and its logs, after it.
        stops: Function that says whether to end here.
        logs: What to return where nothing is left of an epoch that was resumed.

    Returns:
        The logs of the last step.

    Raises:
        ValueError: If the data gave no batch.
    """
    for begin, end, iterator, is_sure in executions:
        on_begin(begin)
        new_logs, done = function(iterator, end - begin + 1, is_sure)
        # To read the number would wait for the device.
        last = end if is_sure else begin + int(done) - 1
        if last >= begin:
            logs = new_logs
            on_end(last, logs)
            if stops():
                break
        if last < end:
            exhausted(last + 1)
            break
    if logs is None:
        raise ValueError("the data gave no batch")
    return logs


def distributed(strategy, dataset):
    """Divides every global batch among the replicas in contiguous parts, in their order.

    `experimental_distribute_dataset` would do much the same, but goes by the files on several
    workers, and leaves the replicas out of step at an uneven end. Here every replica has a part of
    every batch, if need be one of 0 rows.

    Args:
        strategy: `tf.distribute.Strategy`.
        dataset: `tf.data.Dataset` of global batches, the same on every worker.
    """
    replicas = strategy.num_replicas_in_sync

    def parts_of_worker(context):
        if replicas == 1:
            return dataset.prefetch(tf.data.AUTOTUNE)
        count = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * count
        parts = dataset.flat_map(
            lambda *batch: tf.data.Dataset.range(first, first + count).map(
                lambda part: keras.tree.map_structure(
                    lambda tensor: _part(tensor, part, replicas),
                    batch if isinstance(dataset.element_spec, tuple) else batch[0],
                )
            )
        )
        return parts.prefetch(2 * count)

    return strategy.distribute_datasets_from_function(parts_of_worker)


def _part(tensor, index, parts):
    """Rows of part `index` of a batch; where they do not divide evenly, the last ones get fewer."""
    if tensor is None:
        return None
    rows = tensor.shape[0]
    static = rows is not None and rows % parts == 0
    size = rows // parts if static else -(-tf.shape(tensor, tf.int64)[0] // parts)
    part = tensor[index * size : (index + 1) * size]
    return tf.ensure_shape(part, [size if static else None, *tensor.shape[1:]])

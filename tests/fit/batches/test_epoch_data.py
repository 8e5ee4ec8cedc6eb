import threading

import numpy as np
import pytest
import tensorflow as tf

from tfbert.fit.batches.epoch_data import EpochData, Reading
from tfbert.fit.engine.tensorflow.division import divide_among_replicas
from tfbert.hardware.input_pipeline import untuned
from tfbert.hardware.strategies import get_strategy


def parts_of(strategy, dataset):
    """[[rows of replica 0, rows of replica 1, ...] of each batch]."""
    return [
        [part.numpy().tolist() for part in strategy.experimental_local_results(batch)]
        for batch in divide_among_replicas(strategy, dataset)
    ]


def test_parts_are_contiguous_and_none_is_missing(two_replicas):
    rows = tf.data.Dataset.range(9).batch(4)
    assert parts_of(two_replicas, rows) == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8], []]]
    rows = tf.data.Dataset.range(5).batch(3)
    assert parts_of(two_replicas, rows) == [[[0, 1], [2]], [[3], [4]]]


def test_known_shapes_stay_known(two_replicas):
    dataset = tf.data.Dataset.range(8).batch(4, drop_remainder=True)
    spec = EpochData(two_replicas, dataset).spec
    assert spec.shape == (2,)
    spec = EpochData(two_replicas, tf.data.Dataset.range(8).batch(4)).spec
    assert spec.shape == (None,)


class Source:
    """A batch is its epoch and step."""

    steps_per_epoch = 4

    def dataset(self, epoch, step):
        first = 4 * epoch + step
        return tf.data.Dataset.range(first, 10**6).map(lambda n: tf.stack([n // 4, n % 4])[None])


@pytest.mark.parametrize("size", [1, 3])
def test_a_source_begins_anywhere_and_goes_on_through_epochs(size):
    data = EpochData(get_strategy("cpu"), Source(), start=(2, 1))
    assert data.steps == 4
    seen = []
    for first_step in (1, 0):
        for execution in data.executions(size, first_step):
            assert execution.is_sure
            for step in range(execution.begin, execution.end + 1):
                batch = next(execution.iterator).numpy()[0].tolist()
                assert batch[1] == step
                seen.append(batch)
    assert seen == [[2, 1], [2, 2], [2, 3], [3, 0], [3, 1], [3, 2], [3, 3]]


class Uneven(Source):
    """Its third epoch has 2 steps."""

    def steps_in(self, epoch):
        return 2 if epoch == 2 else 4


def test_epochs_of_a_source_may_differ_in_length():
    data = EpochData(get_strategy("cpu"), Uneven(), start=(1, 2))
    assert (data.steps, data.steps_in(2)) == (4, 2)
    spans = [[(e.begin, e.end) for e in data.executions(3, first)] for first in (2, 0, 0)]
    assert spans == [[(2, 3)], [(0, 1)], [(0, 2), (3, 3)]]
    assert EpochData(get_strategy("cpu"), Uneven(), steps=3).steps_in(2) == 3


def test_a_distributed_dataset_is_taken_as_it_is(two_replicas):
    dataset = two_replicas.experimental_distribute_dataset(tf.data.Dataset.range(8).batch(4))
    data = EpochData(two_replicas, dataset)
    assert data.steps == 2
    assert len(list(data.executions(1))) == 2


def test_arrays_are_batched_and_counted():
    data = EpochData(get_strategy("cpu"), np.arange(10.0), y=np.arange(10), batch_size=4)
    assert data.steps == 3
    assert [(e.begin, e.end) for e in data.executions(2)] == [(0, 1), (2, 2)]


@pytest.mark.parametrize("is_slow_to_free", [True, False])
def test_nobody_waits_until_a_tuned_pipeline_is_freed(is_slow_to_free):
    freed_in, is_freed = [], threading.Event()

    class Iterator:
        def __next__(self):
            raise StopIteration

        def __del__(self):
            freed_in.append(threading.current_thread())
            is_freed.set()

    class Feed:
        def __iter__(self):
            return Iterator()

    Feed.is_slow_to_free = is_slow_to_free
    reading = Reading(Feed())
    assert isinstance(reading.iterator, Iterator)
    del reading
    assert is_freed.wait(10)
    assert (freed_in[0] is not threading.current_thread()) == is_slow_to_free


def test_only_what_is_tuned_is_slow_to_free():
    strategy, tuned = get_strategy("cpu"), tf.data.Dataset.range(4).batch(2)
    for dataset, expected in ((tuned, True), (untuned(tuned), False)):
        assert EpochData(strategy, dataset)._feed.is_slow_to_free == expected

"""Batches of pre-training as `fit` takes them, against the records that they are read from."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from helpers.small_records import read, restore

from tfbert.errors import InputError
from tfbert.records.batches import PretrainingBatches, examples_of


@pytest.mark.parametrize(("first_batch", "epoch", "step"), [(0, 0, 0), (3, 1, 1)])
def test_batches_begin_at_any_step(prepared, first_batch, epoch, step):
    records = read(prepared["dynamic"], 4, seed=3)
    batches = PretrainingBatches(records, steps_per_epoch=5, steps=12, first_batch=first_batch)
    dataset = batches.dataset(epoch, step)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    first = first_batch + 5 * epoch + step
    for number, found in zip(range(first, first + 3), dataset.as_numpy_iterator(), strict=False):
        expected = examples_of(records.batch(number))
        tf.nest.assert_same_structure(found, expected)
        for part, (one, other) in enumerate(
            zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True)
        ):
            assert one.dtype == other.dtype, part
            np.testing.assert_array_equal(one, other)


def test_a_dataset_holds_the_records_as_long_as_it_lives(prepared):
    """`Dataset.from_generator` would hold them to the end of the process."""
    records = read(prepared["dynamic"], 4)
    held = weakref.ref(records)
    dataset = PretrainingBatches(records, 5, 12).dataset(0, 0)
    iterator = iter(dataset)
    del records
    gc.collect()
    assert held() is not None
    next(iterator)
    del dataset, iterator
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("masking", ["dynamic", "fixed"])
def test_a_teacher_reads_the_original_tokens(prepared, masking):
    batch = read(prepared[masking], 16).batch(0)
    originals = restore(batch)
    assert (originals != batch["token_ids"]).any()
    inputs, targets, weights = examples_of(batch, 0.5)
    np.testing.assert_array_equal(inputs["original_ids"], originals)
    usual = examples_of(batch)
    for part, of_usual in zip((inputs, targets, weights), usual, strict=True):
        assert all(part[name] is of_usual[name] for name in of_usual if name != "nsp")
    inputs, targets, weights = examples_of(batch, 1.0)
    assert inputs.keys() == {"token_ids", "segment_ids", "padding_mask"}
    np.testing.assert_array_equal(inputs["token_ids"], originals)
    assert targets.keys() == weights.keys() == {"teacher_tokens", "teacher_sentences"}
    np.testing.assert_array_equal(weights["teacher_tokens"], batch["padding_mask"])


def test_records_without_masks_have_a_teacher_alone(prepared):
    batch = read(prepared["none"], 4).batch(0)
    inputs, _, _ = examples_of(batch, 1.0)
    np.testing.assert_array_equal(inputs["token_ids"], batch["token_ids"])
    for share in (0.0, 0.5):
        with pytest.raises(InputError, match="the records have no masks"):
            examples_of(batch, share)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.data.batching import LengthBatches, collate, padded_lengths
from tfbert.data.tokenization import TokenizedTexts

lengths_strategy = st.lists(st.integers(2, 60), min_size=1, max_size=400)


@settings(max_examples=60, deadline=None)
@given(lengths_strategy, st.integers(1, 40), st.integers(0, 3))
def test_every_example_once_an_epoch(lengths, batch_size, epoch):
    batches = LengthBatches(np.array(lengths), batch_size, seed=5)
    order = batches.epoch(epoch)
    assert sorted(np.concatenate(order)) == list(range(len(lengths)))
    assert len(order) == batches.steps
    assert max(map(len, order)) <= batch_size
    for first, second in zip(order, batches.epoch(epoch), strict=True):
        assert np.array_equal(first, second)


def test_order_and_membership_change_from_epoch_to_epoch_and_with_the_seed():
    lengths = np.random.default_rng(0).integers(3, 60, 1000)
    batches = LengthBatches(lengths, 16, seed=1)
    epochs = [batches.epoch(0), batches.epoch(1), LengthBatches(lengths, 16, seed=2).epoch(0)]
    sets = [{frozenset(batch.tolist()) for batch in epoch} for epoch in epochs]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]


def test_batches_waste_less_padding_than_shuffled_ones():
    lengths = np.random.default_rng(0).geometric(0.05, 4096) + 2
    rows = [lengths[batch] for batch in LengthBatches(lengths, 32, seed=1).epoch(0)]
    shuffled = np.random.default_rng(1).permutation(lengths).reshape(-1, 32)
    padded = sum(len(row) * row.max() for row in rows)
    assert padded < 1.15 * lengths.sum()
    assert padded < 0.5 * (32 * shuffled.max(axis=1)).sum()


def test_evaluation_begins_with_the_longest():
    lengths = np.array([4, 9, 2, 9, 7])
    order = LengthBatches(lengths, 2).epoch(0)
    assert [batch.tolist() for batch in order] == [[1, 3], [4, 0], [2]]


def test_collate_pads_to_a_multiple_but_not_above_the_limit():
    values = np.arange(100, 100 + 22, dtype=np.int32)
    texts = TokenizedTexts(values, np.array([0, 3, 13, 22]), 7, 0, 0)
    batch = collate(texts, np.array([1, 0]), padded_lengths(64))
    assert batch["token_ids"].shape == (2, 16)
    assert batch["token_ids"][0].tolist() == [*range(103, 113), *[7] * 6]
    assert batch["padding_mask"].sum(axis=1).tolist() == [10, 3]
    assert not batch["segment_ids"].any()
    assert collate(texts, np.array([1]), padded_lengths(13))["token_ids"].shape == (1, 13)
    assert all(array.dtype == np.int32 for array in batch.values())


@pytest.mark.parametrize(
    ("max_length", "few", "expected"),
    [
        (20, False, [8, 16, 20]),
        (128, True, [32, 64, 96, 128]),
        (100, True, [32, 64, 96, 100]),
        (5, True, [5]),
    ],
)
def test_padded_lengths_end_at_the_limit(max_length, few, expected):
    assert padded_lengths(max_length, few).tolist() == expected

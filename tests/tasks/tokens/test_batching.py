import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.tasks.tokens.batching import (
    LengthBatches,
    TokenBatches,
    collate,
    fitted_lengths,
    padded_lengths,
)
from tfbert.tasks.tokens.tokenization import TokenizedTexts

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


@settings(max_examples=60, deadline=None)
@given(lengths_strategy, st.integers(60, 900), st.booleans())
def test_batches_of_tokens_have_every_example_once_and_no_more_tokens(lengths, tokens, few):
    lengths, padded = np.array(lengths), padded_lengths(60, few)
    batches = TokenBatches(lengths, padded, tokens, seed=5)
    for epoch in (0, 1, 7):
        order = batches.epoch(epoch)
        assert sorted(np.concatenate(order)) == list(range(len(lengths)))
        # The number of steps that the learning rate and a resumed run reckon with.
        assert len(order) == batches.steps
        for rows in order:
            length = min(n for n in padded if n >= lengths[rows].max())
            assert len(rows) * length <= tokens


def test_batches_of_tokens_are_full_and_their_number_is_near_the_least():
    lengths = np.random.default_rng(0).geometric(0.05, 4096).clip(1, 126) + 2
    padded = padded_lengths(128)
    batches = TokenBatches(lengths, padded, 2048, seed=1)
    least = np.ceil(lengths / 8).sum() * 8 / 2048  # every batch full to the last token
    assert least <= batches.steps < 1.1 * least


def test_batches_of_tokens_are_drawn_anew_by_epoch_and_seed():
    lengths = np.random.default_rng(0).integers(3, 60, 2000)
    one, other = (TokenBatches(lengths, padded_lengths(64), 1024, seed=seed) for seed in (1, 2))
    sets = [
        {frozenset(batch.tolist()) for batch in epoch}
        for epoch in (one.epoch(0), one.epoch(1), other.epoch(0))
    ]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    for first, second in zip(one.epoch(3), one.epoch(3), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_text_longer_than_the_batch_is_refused():
    with pytest.raises(ValueError, match="of 16 tokens cannot hold an example of 24"):
        TokenBatches(np.array([3, 20]), padded_lengths(64), 16, seed=1)


def test_evaluation_begins_with_the_longest():
    lengths = np.array([4, 9, 2, 9, 7])
    order = LengthBatches(lengths, 2).epoch(0)
    assert [batch.tolist() for batch in order] == [[1, 3], [4, 0], [2]]


def test_collate_pads_to_a_multiple_but_not_above_the_limit():
    values = np.arange(100, 100 + 22, dtype=np.int32)
    texts = TokenizedTexts(values, np.array([0, 3, 13, 22]), np.array([3, 4, 9]), 7, 0, 0)
    batch = collate(texts, np.array([1, 0]), padded_lengths(64))
    assert batch["token_ids"].shape == (2, 16)
    assert batch["token_ids"][0].tolist() == [*range(103, 113), *[7] * 6]
    assert batch["padding_mask"].sum(axis=1).tolist() == [10, 3]
    assert batch["segment_ids"][0].tolist() == [0] * 4 + [1] * 6 + [0] * 6  # the second is a pair
    assert not batch["segment_ids"][1].any()
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


@given(st.lists(st.integers(2, 60), min_size=1, max_size=30), st.sampled_from([60, 64, 100]))
@settings(max_examples=40, deadline=None)
def test_fitted_lengths_leave_the_least_padding_of_all_choices(tokens, max_length):
    tokens = np.array(tokens)
    every = padded_lengths(max_length)

    def padded(lengths):
        lengths = np.array(lengths)
        return lengths[np.searchsorted(lengths, tokens)].sum()

    lengths = fitted_lengths(tokens, max_length)
    top = every[np.searchsorted(every, tokens.max())]
    assert lengths[-1] == top and len(lengths) <= 4 and set(lengths) <= set(every)
    assert (np.diff(lengths) > 0).all()
    below = every[every < top]
    choices = (c for size in range(4) for c in itertools.combinations(below, size))
    assert padded(lengths) == min(padded([*choice, top]) for choice in choices)

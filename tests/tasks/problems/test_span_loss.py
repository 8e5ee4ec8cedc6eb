"""The loss of start and end against float64 arithmetic by hand, under any division of a batch."""

import keras
import numpy as np
import pytest

from tfbert.tasks.problems.span_loss import SpanAccuracy, SpanLoss


def made(rows=7, length=9, seed=0):
    """Positions (rows, 2), logits (rows, length, 2) with padding of -1e9, lengths (rows,)."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, length + 1, rows)
    logits = rng.normal(size=(rows, length, 2)).astype(np.float32)
    logits[np.arange(length) >= lengths[:, None]] = -1e9
    positions = rng.integers(0, lengths[:, None], (rows, 2)).astype(np.int32)
    return positions, logits, lengths


def by_hand(positions, logits, lengths):
    """(rows,) float64: the mean of both cross-entropies, over the positions that are there."""
    losses = []
    for (first, last), values, length in zip(positions, logits, lengths, strict=True):
        values = values[:length].astype(np.float64)
        shares = np.exp(values) / np.exp(values).sum(0)
        losses.append(-(np.log(shares[first, 0]) + np.log(shares[last, 1])) / 2)
    return np.array(losses)


def test_the_loss_of_each_row():
    positions, logits, lengths = made()
    found = SpanLoss(reduction=None)(positions, logits)
    np.testing.assert_allclose(found, by_hand(positions, logits, lengths), rtol=1e-6)
    mean = SpanLoss()(positions, logits)
    np.testing.assert_allclose(mean, by_hand(positions, logits, lengths).mean(), rtol=1e-6)


def test_the_share_of_rows_with_both_right():
    positions, logits, _ = made()
    logits[:4, :, :] -= 1
    for row in range(4):
        logits[row, positions[row], [0, 1]] = 50
    logits[4:, :, 0] = -50  # the first position is the most likely one
    positions[4:, 0] = 1
    metric = SpanAccuracy()
    metric.update_state(positions, logits)
    assert float(metric.result()) == pytest.approx(4 / 7)
    metric.reset_state()
    metric.update_state(positions, logits, sample_weight=[1, 1, 0, 0, 1, 0, 0])
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_both_are_saved_by_name():
    for made_object in (SpanLoss(), SpanAccuracy()):
        config = keras.saving.serialize_keras_object(made_object)
        assert config["registered_name"] == f"tfbert>{type(made_object).__name__}"
        assert type(keras.saving.deserialize_keras_object(config)) is type(made_object)

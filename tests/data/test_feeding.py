import numpy as np
import pytest

from tfbert.data.batching import LengthBatches
from tfbert.data.feeding import evaluation_dataset, prediction_dataset, training_dataset
from tfbert.data.tokenization import TokenizedTexts

LENGTHS = np.array([3, 5, 4, 6, 3, 3, 8, 2, 5])
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2], np.int32)


@pytest.fixture
def texts():
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    return TokenizedTexts(np.arange(1, starts[-1] + 1, dtype=np.int32), starts, 0, 0, 0)


def test_training_goes_on_from_epoch_to_epoch(texts):
    batches = LengthBatches(LENGTHS, 4, seed=3)
    weights = np.array([1.0, 2.0, 4.0], np.float32)
    dataset = training_dataset(texts, batches, 8, LABELS, weights)
    rows = list(dataset.take(2 * batches.steps).as_numpy_iterator())
    expected = [*batches.epoch(0), *batches.epoch(1)]
    for (inputs, labels, sample_weights), positions in zip(rows, expected, strict=True):
        assert inputs["token_ids"][:, 0].tolist() == texts.values[texts.starts[positions]].tolist()
        assert labels.tolist() == LABELS[positions].tolist()
        assert sample_weights.tolist() == weights[LABELS[positions]].tolist()


@pytest.mark.parametrize("replicas", [2, 4, 5])
def test_a_tail_is_filled_up_without_changing_the_mean(texts, replicas):
    """Any loss per example: its mean over the rows is its mean over the real examples."""
    batches = LengthBatches(LENGTHS, 4)
    loss = np.arange(9.0) ** 2
    dataset = evaluation_dataset(texts, batches, 8, np.arange(9, dtype=np.int32), replicas)
    for (inputs, rows, weights), positions in zip(
        dataset.as_numpy_iterator(), batches.epoch(0), strict=True
    ):
        assert len(rows) % replicas == 0
        assert inputs["token_ids"].shape[0] == len(rows)
        np.testing.assert_allclose((weights * loss[rows]).mean(), loss[positions].mean(), rtol=1e-6)


def test_prediction_has_inputs_only_and_a_known_length(texts):
    dataset = prediction_dataset(texts, LengthBatches(LENGTHS, 4), 8, replicas=2)
    assert int(dataset.cardinality()) == 3
    elements = list(dataset.as_numpy_iterator())
    assert [element[0]["token_ids"].shape[0] for element in elements] == [4, 4, 2]

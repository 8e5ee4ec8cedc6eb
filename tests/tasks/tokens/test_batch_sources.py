import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tfbert.fit.engine.tensorflow.division import divide_among_replicas
from tfbert.tasks.tokens.batch_sources import TrainingBatches, prediction_dataset
from tfbert.tasks.tokens.batching import LengthBatches, TokenBatches, padded_lengths
from tfbert.tasks.tokens.encoded import RowTargets, TokenTargets
from tfbert.tasks.tokens.tokenization import TokenizedTexts

LENGTHS = np.array([3, 5, 4, 6, 3, 3, 8, 2, 5])
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2], np.int32)
WEIGHTS = np.array([1.0, 2.0, 4.0], np.float32)[LABELS]
TARGETS = RowTargets(LABELS, WEIGHTS)


@pytest.fixture
def texts():
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    return TokenizedTexts(np.arange(1, starts[-1] + 1, dtype=np.int32), starts, LENGTHS, 0, 0, 0)


def test_training_goes_on_from_epoch_to_epoch(texts):
    batches = LengthBatches(LENGTHS, 4, seed=3)
    source = TrainingBatches(texts, batches, padded_lengths(8), TARGETS)
    assert source.steps_per_epoch == 3
    rows = list(source.dataset(0, 0).take(2 * batches.steps).as_numpy_iterator())
    expected = [*batches.epoch(0), *batches.epoch(1)]
    for (inputs, labels, sample_weights), positions in zip(rows, expected, strict=True):
        assert inputs["token_ids"][:, 0].tolist() == texts.values[texts.starts[positions]].tolist()
        assert labels.tolist() == LABELS[positions].tolist()
        assert sample_weights.tolist() == WEIGHTS[positions].tolist()


@pytest.mark.parametrize("kind", ["examples", "tokens"])
@pytest.mark.parametrize(("epoch", "step"), [(0, 2), (1, 0), (1, 1)])
def test_training_begins_at_any_step(texts, epoch, step, kind):
    batches = LengthBatches(LENGTHS, 4, seed=3)
    if kind == "tokens":
        batches = TokenBatches(LENGTHS, padded_lengths(8), 24, seed=3)  # 3 examples of 8 tokens
    source = TrainingBatches(texts, batches, padded_lengths(8), TARGETS)
    whole = list(source.dataset(0, 0).take(8).as_numpy_iterator())[3 * epoch + step :]
    rest = list(source.dataset(epoch, step).take(len(whole)).as_numpy_iterator())
    for (one, _, _), (other, _, _) in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(one["token_ids"], other["token_ids"])


def test_the_usual_length_is_that_of_most_batches(texts):
    batches = LengthBatches(LENGTHS, 3)  # 8 6 5, 5 4 3, 3 3 2
    assert TrainingBatches(texts, batches, np.array([4, 8]), TARGETS).usual_length == 8
    assert TrainingBatches(texts, batches, np.array([5, 8]), TARGETS).usual_length == 5


def test_targets_of_tokens_are_padded_with_weight_0(texts):
    values = np.arange(len(texts.values), dtype=np.int32)
    weights = np.tile(np.array([1, 0, 2], np.float32), 13)
    source = TrainingBatches(
        texts,
        LengthBatches(LENGTHS, 4, 3),
        padded_lengths(8),
        TokenTargets(values, weights, texts.starts),
    )
    for positions, (inputs, targets, found) in zip(
        source.batches.epoch(0), source.dataset(0, 0).take(3).as_numpy_iterator(), strict=True
    ):
        assert targets.shape == found.shape == inputs["token_ids"].shape
        for row, position in enumerate(positions):
            tokens = slice(texts.starts[position], texts.starts[position + 1])
            count = LENGTHS[position]
            assert targets[row, :count].tolist() == values[tokens].tolist()
            assert found[row, :count].tolist() == weights[tokens].tolist()
            assert not found[row, count:].any()


def test_prediction_has_inputs_only_and_a_known_length(texts):
    dataset = prediction_dataset(texts, LengthBatches(LENGTHS, 4), padded_lengths(8))
    assert int(dataset.cardinality()) == 3
    elements = list(dataset.as_numpy_iterator())
    assert [element[0]["token_ids"].shape[0] for element in elements] == [4, 4, 1]


def test_batches_of_one_shape_are_filled_up_with_weight_0(texts):
    batches, length = LengthBatches(LENGTHS, 4), np.array([8])
    training = TrainingBatches(texts, batches, length, TARGETS, rows=6)
    prediction = prediction_dataset(texts, batches, length, rows=6)
    for dataset in (training.dataset(0, 0).take(3), prediction):
        assert dataset.element_spec[0]["token_ids"].shape == (6, 8)
        for element, positions in zip(dataset.as_numpy_iterator(), batches.epoch(0), strict=True):
            tokens, count = element[0]["token_ids"], len(positions)
            assert tokens[:, 0].tolist()[:count] == texts.values[texts.starts[positions]].tolist()
            np.testing.assert_array_equal(tokens[count:], np.stack([tokens[0]] * (6 - count)))
            assert (element[0]["padding_mask"].sum(1) > 0).all()
            if len(element) == 3:
                _, labels, sample_weights = element
                assert labels[:count].tolist() == LABELS[positions].tolist()
                assert sample_weights.shape == (6,)
                assert (sample_weights[:count] > 0).all() and not sample_weights[count:].any()


@pytest.mark.parametrize("epoch", [0, 1])
def test_examples_of_some_steps(texts, epoch):
    batches = TokenBatches(LENGTHS, padded_lengths(8), 32, seed=3)  # 4, 4 and 1
    source = TrainingBatches(texts, batches, padded_lengths(8), TARGETS)
    sizes = [len(batch) for batch in batches.epoch(epoch)]
    assert len({*sizes}) > 1
    assert [source.examples_in(epoch, step, step) for step in range(len(sizes))] == sizes
    assert source.examples_in(epoch, 1, 2) == sum(sizes[1:3])


@pytest.mark.parametrize("is_distributed", [False, True])
def test_a_dataset_holds_the_texts_as_long_as_it_lives(texts, is_distributed):
    """`Dataset.from_generator` would hold them to the end of the process."""
    batches = LengthBatches(LENGTHS, 4, seed=3)
    source = TrainingBatches(texts, batches, padded_lengths(8), TARGETS)
    dataset = source.dataset(0, 0)
    held = weakref.ref(source)
    if is_distributed:
        dataset = divide_among_replicas(tf.distribute.get_strategy(), dataset)
    iterator = iter(dataset)
    del source
    gc.collect()
    assert held() is not None
    next(iterator)
    del dataset, iterator
    gc.collect()
    assert held() is None

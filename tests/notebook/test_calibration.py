"""Against NumPy and a search by brute force."""

import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.notebook.calibration import (
    error_by_chance,
    fit_temperature,
    logits_and_labels,
    reliability,
    unused_examples,
)
from tfbert.tasks.examples import Examples


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


@pytest.fixture
def answers():
    """Logits of three classes that are twice as large as they should be, and labels."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(600, 3)) * 2
    labels = np.array([random.choice(3, p=row) for row in softmax(logits)])
    return 2 * logits, labels


def cross_entropy(logits, labels):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


def test_the_temperature_is_that_of_the_lowest_cross_entropy(answers):
    logits, labels = answers
    grid = np.linspace(0.5, 5, 9001)
    best = grid[np.argmin([cross_entropy(logits / t, labels) for t in grid])]
    assert fit_temperature(logits, labels) == pytest.approx(best, abs=1e-3)
    assert 1.6 < best < 2.4
    # It divides the logits: of twice as large ones, twice the temperature.
    assert fit_temperature(2 * logits, labels) == pytest.approx(2 * best, abs=2e-3)


def test_a_temperature_stays_in_its_range():
    logits = np.array([[0.1, -0.1]] * 10)
    assert fit_temperature(logits, np.zeros(10, int)) == pytest.approx(0.05, rel=1e-2)
    assert fit_temperature(logits, np.ones(10, int)) == pytest.approx(20, rel=1e-2)


def test_the_calibration_error(answers):
    logits, labels = answers
    found = reliability(logits, labels, bins=10)
    probabilities = softmax(logits)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected, counts = 0.0, []
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1 - 1e-12)
        if inside.any():
            counts.append(inside.sum())
            gap = abs(confidence[inside].mean() - right[inside].mean())
            expected += inside.mean() * gap
    assert found.answers.tolist() == counts
    assert found.error == pytest.approx(expected)
    assert found.accuracy @ found.answers == pytest.approx(right.sum())


def test_an_answer_that_is_quite_sure_is_in_the_last_bin():
    found = reliability(np.array([[800.0, 0.0], [0.0, 800.0]]), np.array([0, 0]))
    assert found.confidence.tolist() == [1.0]
    assert found.accuracy.tolist() == [0.5]
    assert found.error == 0.5


def test_what_is_by_chance():
    # One bin, all answers with a probability of 0.8: the error is the distance of a binomial
    # mean from 0.8, on average about sqrt(2 p (1 - p) / (pi n)).
    logits = np.tile(np.log([0.8, 0.2]), (400, 1))
    expected = np.sqrt(2 * 0.8 * 0.2 / (np.pi * 400))
    assert error_by_chance(logits, draws=2000) == pytest.approx(expected, rel=0.06)


def test_examples_that_no_run_used():
    train = Examples([f"text {i}" for i in range(50)], [str(i % 2) for i in range(50)])
    used = train.draw(30, 0)
    unused = unused_examples(train, 30, 15)
    assert len(set(unused.texts)) == 15
    assert not set(unused.texts) & set(used.texts)
    labels = dict(zip(train.texts, train.labels, strict=True))
    assert unused.labels == [labels[text] for text in unused.texts]
    assert len(unused_examples(train, 30, 100).texts) == 20
    with pytest.raises(InputError, match="all 50 training examples are used"):
        unused_examples(train, 50, 10)


def test_logits_and_labels_of_examples(small_classifier):
    examples = Examples(["good film", "a bad one", "good"], ["positive", "negative", "positive"])
    logits, labels = logits_and_labels(small_classifier, examples, batch_size=2)
    assert logits.shape == (3, 2)
    assert labels.tolist() == [1, 0, 1]

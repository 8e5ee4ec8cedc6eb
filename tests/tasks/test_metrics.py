"""GLUE's numbers against the formulas of the textbooks, in float64."""

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata
from sklearn.metrics import confusion_matrix

from tfbert.tasks.metrics import f1_of_class, matthews, pearson, spearman


@pytest.fixture
def random():
    return np.random.default_rng(4)


def test_matthews(random):
    given, right = random.integers(2, size=(2, 300))
    (tn, fp), (fn, tp) = confusion_matrix(right, given)
    below = math.sqrt(float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn))
    assert matthews(given, right) == pytest.approx((tp * tn - fp * fn) / below, rel=1e-12)
    names = np.array(["no", "yes"])
    assert matthews(names[given], list(names[right])) == matthews(given, right)


@pytest.mark.parametrize("positive", [0, 1, "1"])
def test_f1_is_of_the_class_that_is_named(random, positive):
    given, right = random.integers(3, size=(2, 300))
    if positive == "1":
        given, right = given.astype(str), right.astype(str)
    tp = np.sum((given == positive) & (right == positive))
    precision, recall = tp / np.sum(given == positive), tp / np.sum(right == positive)
    expected = 2 * precision * recall / (precision + recall)
    assert f1_of_class(given, right, positive) == pytest.approx(expected, rel=1e-12)


def test_correlations(random):
    right = random.integers(0, 26, size=200) / 5  # with many equal ones, as scores have
    given = right + random.normal(size=200)
    assert pearson(given, right) == pytest.approx(np.corrcoef(given, right)[0, 1], rel=1e-12)
    ranks = np.corrcoef(rankdata(given), rankdata(right))[0, 1]
    assert spearman(given, right) == pytest.approx(ranks, rel=1e-12)
    assert abs(spearman(given, right) - kendalltau(given, right).statistic) > 0.01
    assert spearman(np.exp(given), right) == pytest.approx(ranks, rel=1e-12)


def test_numbers_are_taken_in_float64():
    # In float32 all of these are one number.
    given = 1e8 + np.arange(5.0)
    assert pearson(given, np.arange(5.0)) == pytest.approx(1.0)


def test_what_is_not_defined_is_zero():
    assert pearson([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) == spearman([1.0], [3.0]) == 0.0
    assert matthews([1, 1, 1], [0, 1, 1]) == f1_of_class([0, 0], [0, 0]) == 0.0

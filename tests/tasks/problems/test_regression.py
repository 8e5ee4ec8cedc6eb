"""Numbers for texts: reading, the unit of targets and answers, metrics as SciPy's."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import Layout
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.problems.regression import Regression
from tfbert.tasks.tokens.encoded import EncodedExamples

SCORES = [1.5, 4.0, 2.0, 0.5]
TRAIN = Examples(["a", "b", "a b", ""], SCORES)


@pytest.fixture(scope="module")
def problem():
    return Regression.from_data(TRAIN, TRAIN, ProblemOptions())


def test_reading(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("text,label\none, 1.5\ntwo,-3\n,\nthree,1e2\n")
    assert Regression.read(path, Layout()).labels == [1.5, -3.0, 100.0]


@pytest.mark.parametrize("value", ["high", "nan", "inf", "1.5.2", "3,5"])
def test_what_is_no_finite_number(tmp_path, value):
    path = tmp_path / "data.csv"
    path.write_text(f'text,label\none,1\ntwo,"{value}"\n')
    with pytest.raises(InputError, match=f"data.csv, line 3: .* finite number, not '{value}'"):
        Regression.read(path, Layout())
    with pytest.raises(InputError, match="not True"):
        Regression.label_of(True, path, "item 1")


def test_an_empty_label(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("text,label\none,1\ntwo,\n")
    with pytest.raises(InputError, match="line 3: the label is empty"):
        Regression.read(path, Layout())


def test_targets_are_standardised(problem, small_tokenizer):
    encoded = problem.encode(small_tokenizer, TRAIN, 16)
    expected = (np.array(SCORES) - np.mean(SCORES)) / np.std(SCORES)
    np.testing.assert_allclose(encoded.targets.values, expected[:, None], rtol=1e-6)
    # And answered in the data's unit.
    answers = problem.answers(encoded.targets.values, encoded, TRAIN)
    np.testing.assert_allclose([answer["score"] for answer in answers], SCORES, rtol=1e-6)


def test_there_must_be_different_numbers():
    alike = Examples(["a", "b"], [2.0, 2.0])
    with pytest.raises(InputError, match="all 2 training examples have the number 2"):
        Regression.from_data(alike, alike, ProblemOptions())


def test_class_weights_are_refused(problem):
    assert problem.class_weights("none", TRAIN) is None
    for requested in ("balanced", [1.0]):
        with pytest.raises(InputError, match="--class-weights: there are no classes in regression"):
            problem.class_weights(requested, TRAIN)


def test_metrics_are_scipys():
    random = np.random.default_rng(0)
    right = np.round(random.normal(3, 2, 30), 0)  # with ties
    outputs = random.normal(size=(30, 1)).astype(np.float32)
    problem = Regression([], "pearson", mean=3.0, deviation=2.0)
    given = outputs[:, 0].astype(np.float64) * 2 + 3
    examples = Examples([""] * 30, right.tolist())
    metrics = problem.measure(outputs, EncodedExamples(None), examples)
    assert metrics["pearson"] == pytest.approx(pearsonr(given, right).statistic)
    assert metrics["spearman"] == pytest.approx(spearmanr(given, right).statistic)
    assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean((given - right) ** 2)))
    assert metrics["mae"] == pytest.approx(np.mean(np.abs(given - right)))
    assert metrics["loss"] == pytest.approx(np.mean((given - right) ** 2) / 4)
    assert "30 examples: pearson" in problem.table(metrics)


def test_predictions_that_are_alike_have_no_correlation(problem):
    outputs = np.full((4, 1), 0.3, np.float32)
    metrics = problem.measure(outputs, EncodedExamples(None), TRAIN)
    assert metrics["pearson"] == metrics["spearman"] == 0.0

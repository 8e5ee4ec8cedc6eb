import numpy as np
import pytest
from sklearn import metrics as reference

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.problems.classification import Classification, classification_metrics

LABELS = ["bad", "fair", "good"]


def test_metrics_agree_with_scikit_learn():
    random = np.random.default_rng(0)
    logits = 5 * random.normal(size=(200, 3))
    ids = random.integers(0, 3, 200)
    ours = classification_metrics(logits, ids, LABELS)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    guesses = logits.argmax(-1)
    assert ours["accuracy"] == reference.accuracy_score(ids, guesses)
    np.testing.assert_allclose(ours["macro_f1"], reference.f1_score(ids, guesses, average="macro"))
    np.testing.assert_allclose(ours["loss"], reference.log_loss(ids, probabilities))
    for i, label in enumerate(LABELS):
        row = ours["per_class"][label]
        np.testing.assert_allclose(
            row["recall"], reference.recall_score(ids, guesses, labels=[i], average="macro")
        )
        assert row["examples"] == (ids == i).sum()


def test_confident_mistakes_and_absent_classes_stay_finite():
    ours = classification_metrics([[1000.0, 0.0, 0.0]], [1], LABELS)
    assert ours["loss"] == 1000.0
    assert ours["accuracy"] == ours["macro_f1"] == 0.0


def test_as_a_table():
    ours = classification_metrics(np.eye(3), [0, 1, 1], LABELS)
    table = Classification.table(ours).splitlines()
    assert table[0].startswith("3 examples: accuracy 0.6667, macro F1 0.5556, loss 0.8848")
    assert table[2].split() == ["bad", "1.0000", "1.0000", "1.0000", "1"]


def test_class_weights():
    problem = Classification(["a", "b"], "accuracy")
    train = Examples(["x"] * 4, ["a", "a", "a", "b"])
    assert problem.class_weights("none", train) is None
    np.testing.assert_allclose(problem.class_weights("balanced", train), [2 / 3, 2])
    assert problem.class_weights([1.0, 2.5], train).tolist() == [1, 2.5]
    with pytest.raises(InputError, match=r"3 numbers for 2 labels \(a, b\)"):
        problem.class_weights([1.0, 2.0, 3.0], train)


def test_the_n_most_probable_labels():
    problem = Classification(LABELS, "accuracy")
    logits = np.log([[0.2, 0.5, 0.3]])
    (answer,) = problem.answers(logits, None, Examples(["x"], None), n_best=2)
    assert answer["label"] == "fair" and answer["probability"] == pytest.approx(0.5)
    assert [found["label"] for found in answer["n_best"]] == ["fair", "good"]
    assert [found["probability"] for found in answer["n_best"]] == pytest.approx([0.5, 0.3])

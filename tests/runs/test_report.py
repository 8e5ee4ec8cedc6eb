import json

import numpy as np
from sklearn import metrics as reference

from tfbert.runs.report import classification_metrics, metrics_json, metrics_table

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


def test_as_table_and_as_json():
    ours = classification_metrics(np.eye(3), [0, 1, 1], LABELS)
    table = metrics_table(ours).splitlines()
    assert table[0].startswith("3 examples: accuracy 0.6667, macro F1 0.5556, loss 0.8848")
    assert table[2].split() == ["bad", "1.0000", "1.0000", "1.0000", "1"]
    assert json.loads(metrics_json(ours)) == ours
    assert "\n" not in metrics_json(ours)

import numpy as np
import pytest
from helpers.training_fixtures import TEXTS
from sklearn import metrics as reference

from tfbert.runs import scoring
from tfbert.runs.scoring import (
    classification_metrics,
    evaluate_examples,
    metrics_table,
    predict_logits,
)
from tfbert.tasks.tables import Examples
from tfbert.tasks.tokenization import tokenize

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


@pytest.mark.parametrize(
    ("answers", "given", "is_told"),
    [([0, 0, 0], "pnp", True), ([0, 1, 0], "pnp", False), ([1, 1, 1], "ppp", False)],
)
def test_one_answer_for_everything_is_told(
    classifier, monkeypatch, caplog, answers, given, is_told
):
    labels = [{"n": "negative", "p": "positive"}[letter] for letter in given]
    logits = np.eye(2, dtype=np.float32)[answers]
    monkeypatch.setattr(scoring, "predict_logits", lambda *arguments: logits)
    with caplog.at_level("INFO", "tfbert"):
        evaluate_examples(classifier, Examples(["a", "b", "c"], labels), 8, progress=False)
    line = "every one of the 3 examples was answered with 'negative'"
    assert (line in caplog.text) == is_told
    assert ("--class-weights balanced" in caplog.text) == is_told


def test_as_a_table():
    ours = classification_metrics(np.eye(3), [0, 1, 1], LABELS)
    table = metrics_table(ours).splitlines()
    assert table[0].startswith("3 examples: accuracy 0.6667, macro F1 0.5556, loss 0.8848")
    assert table[2].split() == ["bad", "1.0000", "1.0000", "1.0000", "1"]


def test_logits_are_in_the_order_of_the_texts(classifier, monkeypatch):
    """Against the model on one text at a time, unpadded."""
    texts = [TEXTS[i % 4] + " More." * (i * 5 % 13) for i in range(30)]
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    logits = predict_logits(classifier, tokens, batch_size=7)
    for index, row in enumerate(logits):
        ids = tokens[index][None]
        inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
        np.testing.assert_allclose(classifier.model(inputs)[0], row, atol=1e-5)
    # Batches are filled up on a TPU, whose cores share every batch evenly.
    monkeypatch.setattr(scoring, "fixed_rows", lambda classifier, batch_size: 8)
    filled = predict_logits(classifier, tokens, batch_size=7)
    np.testing.assert_allclose(filled, logits, atol=1e-5)


def test_a_few_texts_at_a_time_come_in_few_numbers_of_rows(classifier, monkeypatch):
    tokens = tokenize(classifier.tokenizer, TEXTS * 3, classifier.max_length)
    expected = predict_logits(classifier, tokens, batch_size=6)
    rows, predict_batch = set(), classifier.model.predict_on_batch

    def spy(inputs):
        rows.add(len(inputs["token_ids"]))
        return predict_batch(inputs)

    monkeypatch.setattr(classifier.model, "predict_on_batch", spy)
    for count in range(1, 13):
        some = tokenize(classifier.tokenizer, (TEXTS * 3)[:count], classifier.max_length)
        logits = predict_logits(classifier, some, batch_size=12)
        np.testing.assert_allclose(logits, expected[:count], atol=1e-5)
    assert rows == {1, 2, 4, 8, 12}

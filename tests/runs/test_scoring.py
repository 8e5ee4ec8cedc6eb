import numpy as np
import pytest
from helpers.training_fixtures import TEXTS

from tfbert.runs import scoring
from tfbert.runs.scoring import evaluate_examples, predict_outputs
from tfbert.tasks.examples import Examples
from tfbert.tasks.tokens.tokenization import tokenize


@pytest.mark.parametrize(
    ("answers", "given", "is_told"),
    [([0, 0, 0], "pnp", True), ([0, 1, 0], "pnp", False), ([1, 1, 1], "ppp", False)],
)
def test_one_answer_for_everything_is_told(
    classifier, monkeypatch, caplog, answers, given, is_told
):
    labels = [{"n": "negative", "p": "positive"}[letter] for letter in given]
    logits = np.eye(2, dtype=np.float32)[answers]
    monkeypatch.setattr(scoring, "predict_outputs", lambda *arguments: logits)
    with caplog.at_level("INFO", "tfbert"):
        evaluate_examples(classifier, Examples(["a", "b", "c"], labels), 8, progress=False)
    line = "every one of the 3 examples was answered with 'negative'"
    assert (line in caplog.text) == is_told
    assert ("--class-weights balanced" in caplog.text) == is_told


def test_logits_are_in_the_order_of_the_texts(classifier, monkeypatch):
    """Against the model on one text at a time, unpadded."""
    texts = [TEXTS[i % 4] + " More." * (i * 5 % 13) for i in range(30)]
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    logits = predict_outputs(classifier, tokens, batch_size=7)
    for index, row in enumerate(logits):
        ids = tokens[index][None]
        inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
        np.testing.assert_allclose(classifier.model(inputs)[0], row, atol=1e-5)
    # Batches are filled up on a TPU, whose cores share every batch evenly.
    monkeypatch.setattr(scoring, "fixed_rows", lambda classifier, batch_size: 8)
    filled = predict_outputs(classifier, tokens, batch_size=7)
    np.testing.assert_allclose(filled, logits, atol=1e-5)


def test_a_few_texts_at_a_time_come_in_few_numbers_of_rows(classifier, monkeypatch):
    tokens = tokenize(classifier.tokenizer, TEXTS * 3, classifier.max_length)
    expected = predict_outputs(classifier, tokens, batch_size=6)
    rows, predict_batch = set(), classifier.model.predict_on_batch

    def spy(inputs):
        rows.add(len(inputs["token_ids"]))
        return predict_batch(inputs)

    monkeypatch.setattr(classifier.model, "predict_on_batch", spy)
    for count in range(1, 13):
        some = tokenize(classifier.tokenizer, (TEXTS * 3)[:count], classifier.max_length)
        logits = predict_outputs(classifier, some, batch_size=12)
        np.testing.assert_allclose(logits, expected[:count], atol=1e-5)
    assert rows == {1, 2, 4, 8, 12}

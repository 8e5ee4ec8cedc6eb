import _thread
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from helpers.training_fixtures import TEXTS

from tfbert.errors import MachineError
from tfbert.models.trained_model import load_model, save_model
from tfbert.runs import scoring
from tfbert.runs.scoring import evaluate_examples, open_model, predict_outputs
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


@pytest.fixture
def slow_batches(classifier, monkeypatch):
    """24 batches of one text, and the list of those whose computation began; each takes a while."""
    tokens = tokenize(classifier.tokenizer, TEXTS * 6, classifier.max_length)
    begun, predict_batch = [], classifier.model.predict_on_batch

    def slow(inputs):
        begun.append(inputs)
        time.sleep(0.01)
        return predict_batch(inputs)

    monkeypatch.setattr(classifier.model, "predict_on_batch", slow)
    return tokens, begun


@pytest.mark.parametrize("small", [0, 12])
def test_large_batches_come_one_at_a_time(classifier, slow_batches, monkeypatch, small):
    """Small ones side by side; the results are the same."""
    tokens, _ = slow_batches
    running, most = [], {True: 0, False: 0}
    predict_batch = classifier.model.predict_on_batch

    def counted(inputs):
        running.append(1)
        is_small = inputs["token_ids"].size <= small
        most[is_small] = max(most[is_small], len(running))
        try:
            return predict_batch(inputs)
        finally:
            running.pop()

    expected = predict_outputs(classifier, tokens, batch_size=24)
    monkeypatch.setattr(classifier.model, "predict_on_batch", counted)
    monkeypatch.setattr(scoring, "_SMALL", small)
    found = predict_outputs(classifier, tokens, batch_size=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert most == {False: 1, True: scoring._SMALL_AT_A_TIME if small else 0}


def test_an_error_in_one_of_several_batches(classifier, slow_batches, monkeypatch):
    tokens, begun = slow_batches
    predict_batch = classifier.model.predict_on_batch

    def failing(inputs):
        if len(begun) >= 2:  # not ==: a thread may begin between another's first and second one
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return predict_batch(inputs)

    monkeypatch.setattr(classifier.model, "predict_on_batch", failing)
    with pytest.raises(MachineError, match=r"out of memory with batches of 2 x .*--batch-size 1"):
        predict_outputs(classifier, tokens, batch_size=2)
    assert len(begun) < 10


@pytest.fixture
def listens_to_control_c():
    """A shell that starts a program in the background has it ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_control_c")
def test_control_c_ends_it(classifier, slow_batches, monkeypatch):
    tokens, begun = slow_batches
    predict_batch = classifier.model.predict_on_batch
    once = iter([_thread.interrupt_main])

    def interrupted(inputs):
        if len(begun) >= 2:  # not ==, as above
            next(once, lambda: None)()
        return predict_batch(inputs)

    monkeypatch.setattr(classifier.model, "predict_on_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_outputs(classifier, tokens, batch_size=1)
    assert len(begun) < 20


def test_who_evaluates_may_end_it(classifier, slow_batches):
    tokens, begun = slow_batches
    asked = []

    def interrupts():
        asked.append(len(begun))
        return len(asked) == 2

    predict_outputs(classifier, tokens, batch_size=1, interrupts=interrupts)
    assert len(asked) == 2 and len(begun) < 20


def test_weights_that_are_rounded_once_give_the_same_bits(tmp_path, classifier):
    """On a CPU with bfloat16, against a model of the policy that it is trained in."""
    path = tmp_path / "model"
    save_model(classifier, path)
    once = open_model(str(path), "bfloat16")
    mixed = load_model(str(path), "mixed_bfloat16")
    assert once.model.backbone.token_embedding.embeddings.dtype == "bfloat16"
    tokens = tokenize(classifier.tokenizer, TEXTS * 4, classifier.max_length)
    found, expected = (predict_outputs(trained, tokens, 4) for trained in (once, mixed))
    np.testing.assert_array_equal(found, expected)
    assert open_model(str(path), "float32").model.backbone.dtype_policy.name == "float32"

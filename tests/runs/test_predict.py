import io
import sys

import keras_hub
import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.models.classifier import load_classifier
from tfbert.runs import predict as predict_module
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.predict import predict, predict_logits, predict_texts
from tfbert.tasks.tokenization import tokenize

TEXTS = ["What a lovely day.", "", "Awful!", "The soup was cold and the waiter rude to us all."]


def answers(run, **options):
    return list(predict(PredictConfig(model=run.run_directory, progress=False, **options)))


def test_one_answer_a_line_in_order_whatever_the_batches(trained_run, tmp_path, monkeypatch):
    path = tmp_path / "texts.txt"
    texts = [TEXTS[i % 4] + " More." * (i % 7) for i in range(50)]
    path.write_text("\n".join(texts) + "\n")
    whole = answers(trained_run, input=str(path))
    assert [answer["text"] for answer in whole] == texts
    assert all(0.5 <= answer["probability"] <= 1.0 for answer in whole)
    monkeypatch.setattr(predict_module, "_CHUNK", 8)
    for other, answer in zip(
        answers(trained_run, input=str(path), batch_size=3), whole, strict=True
    ):
        assert other["label"] == answer["label"]
        assert other["probability"] == pytest.approx(answer["probability"], abs=1e-5)


def test_logits_are_in_the_order_of_the_texts(trained_run):
    """Against the model on one text at a time, unpadded."""
    classifier = load_classifier(trained_run.run_directory)
    texts = [TEXTS[i % 4] + " More." * (i * 5 % 13) for i in range(30)]
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    logits = predict_logits(classifier, tokens, batch_size=7)
    for index, row in enumerate(logits):
        ids = tokens[index][None]
        inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
        np.testing.assert_allclose(classifier.model(inputs)[0], row, atol=1e-5)


def test_batches_that_are_filled_up_keep_the_order(trained_run, monkeypatch):
    """As on a TPU, whose cores share every batch evenly."""
    classifier = load_classifier(trained_run.run_directory)
    texts = [TEXTS[i % 4] + " More." * (i * 5 % 13) for i in range(20)]
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    expected = predict_logits(classifier, tokens, batch_size=7)
    monkeypatch.setattr(predict_module, "rows_for", lambda classifier, batch_size: 8)
    np.testing.assert_allclose(
        predict_logits(classifier, tokens, batch_size=7), expected, atol=1e-5
    )


def test_a_few_texts_at_a_time_come_in_few_numbers_of_rows(trained_run, monkeypatch):
    classifier = load_classifier(trained_run.run_directory)
    tokens = tokenize(classifier.tokenizer, TEXTS * 3, classifier.max_length)
    expected = predict_logits(classifier, tokens, batch_size=6)
    rows, predict_all = set(), classifier.model.predict

    def spy(dataset, **options):
        rows.update(len(inputs["token_ids"]) for (inputs,) in dataset)
        return predict_all(dataset, **options)

    monkeypatch.setattr(classifier.model, "predict", spy)
    for count in range(1, 13):
        some = tokenize(classifier.tokenizer, (TEXTS * 3)[:count], classifier.max_length)
        logits = predict_logits(classifier, some, batch_size=12)
        np.testing.assert_allclose(logits, expected[:count], atol=1e-5)
    assert rows == {1, 2, 4, 8, 12}


def test_standard_input(trained_run, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"good\r\nbad"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert [answer["text"] for answer in answers(trained_run)] == ["good", "bad"]


def test_no_lines_no_answers(trained_run, tmp_path):
    (tmp_path / "empty").write_text("")
    assert answers(trained_run, input=str(tmp_path / "empty")) == []


def test_the_stock_model_says_the_same(trained_run):
    classifier = load_classifier(trained_run.run_directory)
    stock = keras_hub.models.TextClassifier.from_preset(trained_run.run_directory + "/model")
    logits = stock.predict(TEXTS, verbose=0)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for answer, row in zip(predict_texts(classifier, TEXTS), probabilities, strict=True):
        assert answer["label"] == classifier.labels[row.argmax()]
        np.testing.assert_allclose(answer["probability"], row.max(), atol=1e-5)


def test_a_list_is_asked_for(trained_run):
    classifier = load_classifier(trained_run.run_directory)
    assert predict_texts(classifier, []) == []
    with pytest.raises(TypeError, match="a list of texts"):
        predict_texts(classifier, "one text")


def test_a_wrong_file_is_found_before_the_model_is_loaded(tmp_path):
    config = PredictConfig(model="nowhere", input=str(tmp_path / "absent"))
    with pytest.raises(InputError, match="absent: no such file"):
        next(predict(config))


def test_answers_before_a_wrong_line_are_not_lost(trained_run, tmp_path, monkeypatch):
    monkeypatch.setattr(predict_module, "_CHUNK", 2)
    path = tmp_path / "texts.txt"
    path.write_bytes(b"one\ntwo\nthree\ncaf\xe9\n")
    stream = predict(PredictConfig(model=trained_run.run_directory, input=str(path)))
    assert [next(stream)["text"], next(stream)["text"]] == ["one", "two"]
    with pytest.raises(InputError, match="line 4: byte 0xe9"):
        next(stream)

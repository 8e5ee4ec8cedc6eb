import io
import sys

import keras_hub
import numpy as np
import pytest
from helpers.training_fixtures import TEXTS

from tfbert.errors import InputError
from tfbert.runs import predict as predict_module
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.predict import predict, predict_texts


def answers(run, **options):
    return list(predict(PredictConfig(model=str(run), progress=False, **options)))


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


def test_standard_input(trained_run, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"good\r\nbad"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert [answer["text"] for answer in answers(trained_run)] == ["good", "bad"]


def test_no_lines_no_answers(trained_run, tmp_path):
    (tmp_path / "empty").write_text("")
    assert answers(trained_run, input=str(tmp_path / "empty")) == []


def test_the_stock_model_says_the_same(trained_run, classifier):
    stock = keras_hub.models.TextClassifier.from_preset(str(trained_run / "model"))
    logits = stock.predict(TEXTS, verbose=0)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for answer, row in zip(predict_texts(classifier, TEXTS), probabilities, strict=True):
        assert answer["label"] == classifier.labels[row.argmax()]
        np.testing.assert_allclose(answer["probability"], row.max(), atol=1e-5)


def test_a_list_is_asked_for(classifier):
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
    stream = predict(PredictConfig(model=str(trained_run), input=str(path)))
    assert [next(stream)["text"], next(stream)["text"]] == ["one", "two"]
    with pytest.raises(InputError, match="line 4: byte 0xe9"):
        next(stream)

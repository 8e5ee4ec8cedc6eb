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


TABLE = [
    ("table.csv", 'id,review,label\n1,"What a\nlovely ""day"".",x\n\n2,"Awful, really!",\n'),
    ("table.csv", 'sep=;\nid;review;label\n1;"What a\nlovely ""day"".";x\n2;Awful, really!;\n'),
    ("table.json", '[{"id": "1", "review": "What a\\nlovely \\"day\\".", "label": "x"},'
                   ' {"id": "2", "review": "Awful, really!", "label": ""}]'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), TABLE)
def test_a_table_comes_back_with_the_answers(trained_run, classifier, tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    expected = predict_texts(classifier, ['What a\nlovely "day".', "Awful, really!"])
    rows = answers(trained_run, input=str(path))  # the column `review` is the run's
    assert [list(row) for row in rows] == [
        ["id", "review", "given_label", "label", "probability"]
    ] * 2
    assert [(row["id"], row["given_label"]) for row in rows] == [("1", "x"), ("2", "")]
    for row, answer in zip(rows, expected, strict=True):
        assert (row["review"], row["label"]) == (answer["text"], answer["label"])
        assert row["probability"] == pytest.approx(answer["probability"], abs=1e-5)


def test_another_column_of_a_table(trained_run, tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text('{"n": 1, "body": "Nice.", "tags": ["a"]}\n{"body": "", "text": null}\n')
    first, second = answers(trained_run, input=str(path), text_column="body")
    assert (first["n"], first["body"], first["tags"]) == (1, "Nice.", ["a"])
    assert "text" not in first and second["text"] is None


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        (
            "a.csv",
            "text,label\na,b\n",
            {},
            "a.csv: no column 'review'; its columns are text, label",
        ),
        ("a.csv", "review\n", {"text_column": "x"}, "no column 'x'; its columns are review"),
        ("a.csv", "review,n\na\n", {}, "line 2: 1 columns, the header has 2"),
        ("a.jsonl", '{"review": 5}\n', {}, "line 1: the text must be a string, not 5"),
        (
            "a.txt",
            "review,n\na,1\n",
            {"text_column": "review"},
            "--text-column is 'review': it must",
        ),
        ("a.txt", "review,n\na,1\n", {"separator": ","}, "only tables .* have columns"),
    ],
)
def test_a_wrong_table_is_found_before_the_model_is_loaded(
    trained_run, tmp_path, monkeypatch, name, content, options, message
):
    monkeypatch.setattr(predict_module, "load_classifier", None)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        answers(trained_run, input=str(tmp_path / name), **options)

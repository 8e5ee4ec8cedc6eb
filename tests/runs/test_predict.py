import gc
import io
import os
import sys

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from helpers.foreign_models import VARIANTS
from helpers.training_fixtures import TEXTS

from tfbert.errors import InputError
from tfbert.models.trained_model import load_model
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


def test_another_backend_of_keras_is_one_line(classifier, trained_run, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    for ask in (lambda: predict_texts(classifier, ["a"]), lambda: answers(trained_run)):
        with pytest.raises(InputError, match="Keras runs on torch: set KERAS_BACKEND"):
            ask()


def test_standard_input(trained_run, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"good\r\nbad"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert [answer["text"] for answer in answers(trained_run)] == ["good", "bad"]


def test_what_was_cut_is_said(trained_run, tmp_path, caplog):
    path = tmp_path / "long.txt"
    path.write_text("lovely " * 200 + "\n")
    with caplog.at_level("INFO", "tfbert"):
        list(predict(PredictConfig(model=str(trained_run), input=str(path), progress=False)))
    assert "1 of 1 texts are longer than" in caplog.text


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


def test_texts_of_any_container(classifier):
    texts = ["good", "", "bäd"]
    expected = predict_texts(classifier, texts)
    assert [answer["text"] for answer in expected] == texts
    for same in (
        tuple(texts),
        np.array(texts),
        np.array(texts, object),
        tf.constant(texts),
        FakeSeries(texts),
        iter(texts),
    ):
        answers = predict_texts(classifier, same)
        assert answers == expected
        assert {type(answer["text"]) for answer in answers} == {str}
    assert predict_texts(classifier, []) == predict_texts(classifier, np.array([], str)) == []


class FakeSeries:
    """What `predict_texts` asks of a pandas Series; its labels are no positions."""

    ndim = 1

    def __init__(self, texts):
        self._texts = texts

    def __iter__(self):
        return iter(self._texts)

    def __bool__(self):
        raise ValueError("The truth value of a Series is ambiguous")

    def __getitem__(self, label):
        raise KeyError(label)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "a list of texts is needed, not one text"),
        (["good", None], "the text at position 1 is None"),
        (["good", "bad", float("nan")], "the text at position 2 is nan .float."),
        (np.array(["good", np.nan], object), "the text at position 1 is nan"),
        ([b"good"], "the text at position 0 is b'good' .bytes."),
        (np.array([["good"]]), "not ndarray"),
        ({"good": 1}, "not dict"),
        (np.array("good"), "one-dimensional"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_text_is_named(classifier, texts, message):
    with pytest.raises(TypeError, match=message):
        predict_texts(classifier, texts)


@pytest.mark.parametrize("count", [1, 40])
def test_calls_leave_nothing_behind(classifier, count):
    """Neither objects nor, within what the allocator needs, memory."""
    texts = [TEXTS[i % 4] + " More." * (i % 5) for i in range(count)]
    before = memory = 0
    for call in range(30):
        predict_texts(classifier, texts, batch_size=16)
        if call == 9:
            gc.collect()
            before, memory = len(gc.get_objects()), resident_bytes()
    gc.collect()
    assert len(gc.get_objects()) - before < 20
    assert resident_bytes() - memory < 20e6


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_few_texts_without_a_pipeline_get_the_same_answers(classifier, count, monkeypatch):
    texts = [TEXTS[i % 4] + " More." * (i % 5) for i in range(count)]
    direct = predict_texts(classifier, texts)
    model = classifier.model
    monkeypatch.setattr(
        model,
        "predict_on_batch",
        lambda inputs: model.predict(tf.data.Dataset.from_tensors((inputs,)), verbose=0),
    )
    assert predict_texts(classifier, texts) == direct


@pytest.mark.parametrize("count", [1, 3, 4, 11])
def test_two_replicas_give_the_same_answers(trained_run, classifier, two_replicas, count):
    """Fewer texts than replicas, an uneven number, one batch and several."""
    texts = [TEXTS[i % 4] + " More." * (i % 5) for i in range(count)]
    with two_replicas.scope():
        shared = load_model(str(trained_run))
    assert shared.model.distribute_strategy is two_replicas
    expected = predict_texts(classifier, texts, batch_size=4)
    found = predict_texts(shared, texts, batch_size=4)
    for one, other in zip(found, expected, strict=True):
        assert (one["text"], one["label"]) == (other["text"], other["label"])
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)


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
        ("a.csv", "review,n\na\n", {}, "line 2: 1 column, the header has 2"),
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
    monkeypatch.setattr(predict_module, "open_model", None)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        answers(trained_run, input=str(tmp_path / name), **options)


def test_no_column_is_lost_to_another_of_its_new_name(trained_run, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("review,label,given_label\na,x,y\n")
    (row,) = answers(trained_run, input=str(path), text_column="review")
    assert (row["given_label"], row["given_given_label"]) == ("y", "x")


def test_a_second_text_where_single_ones_are_judged(trained_run, tmp_path, monkeypatch):
    monkeypatch.setattr(predict_module, "open_model", None)
    path = tmp_path / "table.csv"
    path.write_text("review,other\na,b\n")
    with pytest.raises(InputError, match=r"--text-pair-column: .* trained on single texts"):
        answers(trained_run, input=str(path), text_pair_column="other")


def test_a_model_of_another_program_is_given_pairs_by_the_option(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("text,other\ngood film,bad\ngood film,good\n")
    model = str(VARIANTS / "classifier")
    trained = load_model(model)
    found = answers(model, input=str(path), text_pair_column="other")
    expected = predict_texts(trained, ["good film"] * 2, pairs=["bad", "good"])
    assert [row["label"] for row in found] == [answer["label"] for answer in expected]
    for row, answer in zip(found, expected, strict=True):
        assert row["probability"] == pytest.approx(answer["probability"], abs=1e-5)
    (single,) = predict_texts(trained, ["good film"])
    assert abs(found[0]["probability"] - single["probability"]) > 1e-5
    with pytest.raises(InputError, match=r"--text-pair-column: .* trained on single texts"):
        answers(VARIANTS / "tagger", input=str(path), text_pair_column="other")
    with pytest.raises(ValueError, match="leave `pairs` out"):
        predict_texts(load_model(str(VARIANTS / "tagger")), ["good"], pairs=["bad"])

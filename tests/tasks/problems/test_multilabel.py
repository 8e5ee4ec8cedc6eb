"""Several labels a text: reading, targets, metrics as scikit-learn's, answers."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_recall_fscore_support

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import Layout
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.problems.multilabel import Multilabel, multilabel_metrics
from tfbert.tasks.tokens.encoded import EncodedExamples
from tfbert.tasks.tokens.long_texts import mean_by_example

LABELS = ["anger", "joy", "love"]


def written(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def examples(*labels):
    return Examples([f"text {number}" for number in range(len(labels))], list(labels))


def made(train, evaluation=None, **options):
    options = ProblemOptions(**options)
    return Multilabel.from_data(train, evaluation or train, options)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("joy", ["joy"]),
        ('"joy, love,"', ["joy", "love"]),
        ("", []),
        ("\"['joy', 'love']\"", ["joy", "love"]),
        ('"[""joy"", ""joy""]"', ["joy"]),
        ("[]", []),
        ("[joy]", ["[joy]"]),
    ],
)
def test_cells(tmp_path, cell, labels):
    path = written(tmp_path, f"text,label\none,{cell}\ntwo,anger\n")
    assert Multilabel.read(path, Layout()).labels == [labels, ["anger"]]


def test_another_separator(tmp_path):
    path = written(tmp_path, 'text,label\none,"joy|a, b"\n,\n')
    layout = Layout(label_separator="|")
    assert Multilabel.read(path, layout) == Examples(["one"], [["joy", "a, b"]])


def test_json(tmp_path):
    rows = [{"text": "one", "label": ["joy", 3]}, {"text": "two", "label": []}]
    rows.append({"text": "three", "label": "a, b"})  # a list was possible
    path = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl")
    assert Multilabel.read(path, Layout("jsonl")).labels == [["joy", "3"], [], ["a, b"]]


def test_a_column_a_label(tmp_path):
    layout = Layout(label_column="joy,love, anger")
    path = written(tmp_path, "text,joy,love,anger\none,1,0.0,true\ntwo,0,0,0\n,,,\n")
    assert Multilabel.read(path, layout) == Examples(["one", "two"], [["joy", "anger"], []])
    assert not Multilabel.is_unlabelled(path, layout)
    assert Multilabel.is_unlabelled(written(tmp_path, "text\none\n"), layout)
    path = written(tmp_path, "text,joy,love,anger\none,1,0,0\ntwo,0,2,0\n")
    with pytest.raises(InputError, match="line 3: the column 'love' holds '2'"):
        Multilabel.read(path, layout)


def test_labels_of_the_data():
    train = examples(["joy", "love"], [], ["joy"], ["anger"])
    problem = made(train)
    assert problem.labels == LABELS and problem.main_metric == "macro_f1"
    with pytest.raises(InputError, match="the label 'fear' of 2 evaluation examples is not among"):
        made(train, examples(["fear", "joy"], ["fear"]))
    assert made(examples(["1"], ["0"]), examples(["1.0"])).labels == ["0", "1"]
    assert Multilabel.named([["1", "1.0"], ["0"]], {"1": "yes"}) == [["yes"], ["0"]]
    # By the rarest label, so that each stays in the training data.
    assert Multilabel.strata(train) == ["love", "", "joy", "anger"]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([[], []], "none of the 2 training examples has a label"),
        ([["joy"], ["love"], ["joy;love"]], "is several labels: give --label-separator ';'"),
        ([[f"l{number}"] for number in range(30)], "nearly every text has one of its own"),
    ],
)
def test_labels_that_look_like_a_mistake(labels, reason):
    with pytest.raises(InputError, match=reason):
        Multilabel.check(examples(*labels))


def test_targets_and_class_weights(small_tokenizer):
    train = examples(["joy"], ["joy", "love"], [], ["joy", "anger"])
    problem = made(train)
    encoded = problem.encode(small_tokenizer, train, 16)
    decisions = [[0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]]
    np.testing.assert_array_equal(encoded.targets.values, decisions)
    assert problem.class_weights("none", train) is None
    # As many times the positive decisions as there are negative ones.
    weights = problem.class_weights("balanced", train)
    np.testing.assert_allclose(weights, [3, 1 / 3, 3])
    weighted = problem.encode(small_tokenizer, train, 16, class_weights=weights).targets
    np.testing.assert_allclose(weighted.values, np.array(decisions) * weights, rtol=1e-6)
    np.testing.assert_array_equal(weighted.weights, np.ones(4))
    with pytest.raises(InputError, match="2 numbers for 3 labels"):
        problem.class_weights([1.0, 2.0], train)


def test_texts_in_windows_have_one_answer(small_tokenizer):
    long = Examples(["a " * 20, "a"], [["joy"], ["love"]])
    problem = made(long, long_texts="windows", doc_stride=6)
    encoded = problem.encode(small_tokenizer, long, 8)
    rows = encoded.example_of
    assert len(rows) > 2 and (encoded.targets.values[rows == 0] == [1, 0]).all()
    outputs = np.where(rows[:, None] == 0, [[1.0, -2.0]], [[-3.0, 0.5]])
    outputs[0] += 1.0
    answers = problem.answers(mean_by_example(outputs, encoded), encoded, long)
    assert [answer["labels"] for answer in answers] == [["joy"], ["love"]]
    mean = outputs[rows == 0, 0].mean()
    assert answers[0]["probabilities"] == [pytest.approx(1 / (1 + np.exp(-mean)))]


@pytest.mark.parametrize("labels", [1, 5])
def test_metrics_are_scikit_learns(labels):
    random = np.random.default_rng(labels)
    logits, right = random.normal(size=(40, labels)), random.random((40, labels)) < 0.3
    right[:, 1:2] = False  # a label that is nowhere
    logits[:4], right[2:6] = -1, False  # examples without one
    given = logits > 0
    names = [f"label {number}" for number in range(labels)]
    metrics = multilabel_metrics(logits, right, names)
    # A column of negatives beside, as scikit-learn takes a single one for two classes.
    options = {"zero_division": 0, "labels": range(labels)}
    wide = [np.column_stack([part, np.zeros(40, bool)]) for part in (right, given)]
    assert metrics["macro_f1"] == pytest.approx(f1_score(*wide, average="macro", **options))
    assert metrics["micro_f1"] == pytest.approx(f1_score(*wide, average="micro", **options))
    assert metrics["samples_f1"] == pytest.approx(f1_score(*wide, average="samples", **options))
    assert metrics["subset_accuracy"] == pytest.approx(accuracy_score(*wide))
    rows = np.transpose(precision_recall_fscore_support(*wide, **options))
    for name, row in zip(names, rows, strict=True):
        ours = metrics["per_class"][name]
        assert [ours[key] for key in ("precision", "recall", "f1", "examples")] == pytest.approx(
            list(row)
        )
    probabilities = 1 / (1 + np.exp(-logits.ravel()))
    assert metrics["loss"] == pytest.approx(log_loss(right.ravel(), probabilities))


def test_answers():
    problem = Multilabel(LABELS, "macro_f1")
    outputs = np.array([[0.2, 3.0, -1.0], [-5.0, -6.0, -7.0]], np.float32)
    given = examples([], [])._replace(labels=None)
    encoded = EncodedExamples(None)
    first, second = problem.answers(outputs, encoded, given)
    assert first["labels"] == ["joy", "anger"]
    np.testing.assert_allclose(first["probabilities"], 1 / (1 + np.exp([-3.0, -0.2])), rtol=1e-6)
    assert second == {"labels": [], "probabilities": []}
    best = problem.answers(outputs, encoded, given, n_best=2)[1]["n_best"]
    assert [answer["label"] for answer in best] == ["anger", "joy"]
    (remark,) = problem.remarks(outputs[1:], examples(["joy"]), {"examples": 1})
    assert "none of the 1 examples got a label" in remark
    assert problem.remarks(outputs, examples(["joy"], []), {"examples": 2}) == []


def test_a_missing_one_of_several_label_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,joy\nfine,1\n")
    layout = Layout(label_column="joy, anger")
    with pytest.raises(InputError, match=r"no column 'anger'; .* \(--label-column chooses another"):
        Multilabel.read(path, layout)

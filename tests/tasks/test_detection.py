"""What a file says of its problem, where no option does."""

import json
import logging

import pytest

from tfbert.errors import InputError
from tfbert.tasks.detection import Detected, detect
from tfbert.tasks.formats.tables import Layout
from tfbert.tasks.labelled_data import LabelledData

SQUAD = {"version": "1.1", "data": [{"title": "a", "paragraphs": []}]}
CONLL = "EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\n"


def found(tmp_path, content, form="csv", **layout):
    path = tmp_path / f"data.{form}"
    path.write_text(content)
    return detect(path, Layout(form, **layout))


@pytest.mark.parametrize(
    ("form", "content", "problem"),
    [
        ("csv", "text,label\na,1\nb,0\n", "classification"),
        ("csv", "text,label\na,0.25\nb,0.5\n", "classification"),  # numbers are asked about
        ("csv", 'text,label\na,"x,y"\nb,x\n', "classification"),  # and so are several labels
        ("jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": 1.5}\n', "classification"),
        (
            "jsonl",
            '{"text": "a", "label": "x"}\n{"text": "b", "label": ["x", "y"]}\n',
            "multilabel",
        ),
        ("jsonl", '[{"Text": "a", "LABEL": []}]', "multilabel"),
        ("jsonl", '{"text": ["a", "b"], "label": ["O", "B-x"]}\n', "tagging"),
        ("jsonl", '{"text": "a"}\n', "classification"),
    ],
)
def test_tables(tmp_path, form, content, problem):
    assert found(tmp_path, content, form) == Detected(problem, form)


@pytest.mark.parametrize("indent", [None, 1])
def test_squads_form(tmp_path, indent):
    content = json.dumps(SQUAD, indent=indent)
    assert found(tmp_path, content, "jsonl") == Detected("span", "squad")
    assert found(tmp_path, content, "squad") == Detected("span", "squad")


def test_questions_with_an_object_a_line(tmp_path):
    content = json.dumps({"id": "1", "question": "a", "context": "b", "answers": {}}) + "\n"
    assert found(tmp_path, content, "jsonl") == Detected("span", "squad")
    # Who names the question as the text wants its label.
    layout = {"text_column": "question", "label_column": "id"}
    assert found(tmp_path, content, "jsonl", **layout).problem == "classification"


def test_json_with_a_key_data_is_not_squads_form(tmp_path):
    content = '{"text": "a", "label": 1, "data": "b"}\n'
    assert found(tmp_path, content, "jsonl").problem == "classification"


@pytest.mark.parametrize(
    "content",
    [
        CONLL,
        CONLL.replace("\n\n", "\n\t\n"),  # as some files have their blank lines
        "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n",
        "# id 1\nEU\tB-ORG\nrejects\tO\n\n# id 2\nPeter\tB-PER\n",
    ],
)
@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_words_in_columns(tmp_path, content, form):
    assert found(tmp_path, content, form) == Detected("tagging", "conll")


@pytest.mark.parametrize(
    "content",
    [
        "text\tlabel\na b\tO\n\nc d\tB-x\n",  # a header
        "a\tO\nb\tB-x\n",  # no blank line
        "a\tyes\n\nb\tno\n",  # no tags of entities
        "a\tO\n\nb\tO\tB-x\n",  # not the same columns
    ],
)
def test_what_only_looks_like_words_in_columns(tmp_path, content):
    assert found(tmp_path, content, "tsv").problem == "classification"


def test_options_say_it(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    table = "text,x,y\na,1,0\n"
    assert found(tmp_path, table, label_column="x,y").problem == "multilabel"
    assert "--label-column names several, so --problem multilabel" in caplog.text
    assert found(tmp_path, table, label_column="x", label_separator="|").problem == "multilabel"
    # A comma may belong to the column's own name.
    quoted = 'text,"city, state"\na,b\n'
    assert found(tmp_path, quoted, label_column="city, state").problem == "classification"


def test_a_known_problem_needs_no_line(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a", "label": ["x"]}\n')
    assert LabelledData("jsonl", path, problem="multilabel").problem.name == "multilabel"
    assert not caplog.text


@pytest.mark.parametrize(
    ("task", "content", "problem"),
    [
        ("tsv", CONLL, "tagging"),
        ("jsonl", '{"text": "a", "label": ["x"]}\n{"text": "b", "label": []}\n', "multilabel"),
        ("csv", "text,label\na,x\nb,y\n", "classification"),
    ],
)
def test_data_is_read_by_what_it_says(tmp_path, task, content, problem):
    path = tmp_path / "train.data"
    path.write_text(content)
    data = LabelledData(task, path)
    assert data.problem.name == problem
    train, _ = data.splits(path)
    assert len(train.texts) == 2
    # The option goes before the data, and the data's form is still known.
    assert LabelledData(task, path, problem="regression").problem.name == "regression"
    assert LabelledData(task, path, problem=problem).splits(path)[0] == train


def test_only_the_begin_of_a_file_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("tfbert.tasks.detection._LOOKED_AT", 2)
    rows = ['{"text": "a", "label": "x"}\n'] * 2 + ['{"text": "a", "label": ["x"]}\n']
    assert found(tmp_path, "".join(rows), "jsonl").problem == "classification"


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        detect(tmp_path / "none.csv", Layout("csv"))
    with pytest.raises(InputError, match=r"line 2: not JSON"):
        found(tmp_path, '{"text": "a", "label": "x"}\n{"text"\n', "jsonl")

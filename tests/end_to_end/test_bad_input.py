"""Every kind of wrong input to `finetune`: one line, exit status 2, nothing written."""

import json

import pytest

from tfbert.cli import main

GOOD = "text,label\n" + "a fine day,good\nan awful day,bad\n" * 5


@pytest.mark.parametrize(
    ("train", "dev", "options", "message"),
    [
        (None, None, [], "no such file or folder"),
        ("", GOOD, [], "train.csv: the file is empty"),
        (GOOD, "text,label\n", [], "dev.csv: holds no examples"),
        (
            GOOD,
            GOOD,
            ["--text-column", "review"],
            "no column 'review'; its columns are text, label",
        ),
        (GOOD, "text,label\nmeh,mixed\n", [], "the label 'mixed' of 1 evaluation examples"),
        ("text,label\nx,good\ny,good\n", GOOD, [], "all 2 training examples have the label 'good'"),
        (GOOD + "caf\udce9,good\n", GOOD, [], "train.csv, line 12: byte 0xe9 is not valid utf-8"),
        (GOOD + "only a text\n", GOOD, [], "train.csv, line 12: 1 column, the header has 2"),
        (
            GOOD,
            GOOD,
            ["--model", "bert_huge"],
            "no BERT preset of that name",
        ),
        (GOOD, GOOD, ["--freeze-layers", "4"], "the model has only 3 layers"),
        (GOOD, GOOD, ["--tokens-per-batch", "9"], "9: a single text may have 128 tokens"),
        (GOOD, GOOD, ["--max-length", "9999"], "--max-length 9999: the model ends at 128 tokens"),
        (GOOD, GOOD, ["--class-weights", "[1]"], "--class-weights has 1 numbers for 2 labels"),
        (GOOD, GOOD, ["--encoding", "klingon"], "--encoding klingon: Python knows no such"),
        (GOOD, GOOD, ["--eval-data", "absent.csv"], "absent.csv: no such file"),
    ],
)
def test_one_line_and_status_2(tmp_path, capsys, train, dev, options, message):
    folder = tmp_path / "data"
    for name, content in (("train", train), ("dev", dev)):
        if content is not None:
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    output = tmp_path / "run"
    fixed = ["finetune", "--task", "csv", "--data", str(folder), "--output", str(output)]
    assert main([*fixed, "--model", "embedded", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    errors = [line for line in printed.err.splitlines() if line.startswith("tfbert: error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not output.exists()


PAIRS = "text,other,label\n" + "a day,a night,no\na cat,the cat,yes\n" * 5
WORDS = "Anna\tB-person\nlives\tO\n\n" * 5
PASSAGE = "The Nile flows north."


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def squad(text, start, **changes):
    answers = [{"text": text, "answer_start": start}]
    question = {"id": "q7", "question": "Where?", "answers": answers, **changes}
    paragraph = {"context": PASSAGE, "qas": [question]}
    return json.dumps({"data": [{"paragraphs": [paragraph]}]})


def both(name, train, evaluation=None):
    """Files of training and evaluation examples."""
    return {f"train.{name}": train, f"dev.{name}": train if evaluation is None else evaluation}


MULTILABEL = lines({"text": "a", "label": ["x"]}, {"text": "b", "label": ["y", "x"]})
SCORES = "text,label\n" + "".join(f"text {n},{n / 7:.2f}\n" for n in range(30))
TAGS = lines({"text": ["Anna", "lives"], "label": ["B-person", "O"]})
BROKEN_TAGS = lines({"text": ["Anna", "lives"], "label": ["O"]})
PAIR = ["--text-pair-column", "other"]
REGRESSION = ["--problem", "regression"]


@pytest.mark.parametrize(
    ("task", "files", "options", "message"),
    [
        # A row without a pair.
        ("csv", both("csv", PAIRS + "a dog,yes\n"), PAIR, "train.csv, line 12: 2 columns, the"),
        (
            "csv",
            both("csv", PAIRS + "a dog, ,yes\n"),
            PAIR,
            "line 12: one text of the pair is empty",
        ),
        ("csv", both("csv", PAIRS), ["--text-pair-column", "second"], "no column 'second'"),
        (
            "jsonl",
            both("jsonl", lines({"text": "a", "label": "x"}, {"text": "b", "label": "y"})),
            PAIR,
            "train.jsonl, line 1: no key 'other'",
        ),
        # A label that training had not, or that is none.
        (
            "csv",
            both("csv", PAIRS, PAIRS + "x,y,maybe\n"),
            PAIR,
            "the label 'maybe' of 1 evaluation examples is not among the labels",
        ),
        (
            "jsonl",
            both("jsonl", MULTILABEL, lines({"text": "c", "label": ["z"]})),
            [],
            "the label 'z' of 1 evaluation examples is not among the labels",
        ),
        (
            "jsonl",
            both("jsonl", MULTILABEL + lines({"text": "c", "label": [["z"]]})),
            [],
            "train.jsonl, line 3: ",
        ),
        (
            "csv",
            both("csv", SCORES + "x,high\n"),
            REGRESSION,
            "train.csv, line 32: the label must be a finite number, not 'high'",
        ),
        ("csv", both("csv", SCORES), [], "--problem regression"),
        ("csv", both("csv", SCORES), [*REGRESSION, "--class-weights", "balanced"], "no classes in"),
        # Tags.
        (
            "conll",
            both("conll", WORDS + "Berlin\n"),
            [],
            "train.conll, line 16: 1 columns, where the lines before have 2",
        ),
        (
            "jsonl",
            both("jsonl", TAGS + BROKEN_TAGS),
            ["--problem", "tagging"],
            "train.jsonl, line 2: 2 words and 1 tags; each word needs one",
        ),
        (
            "conll",
            both("conll", WORDS, WORDS + "Titanic\tB-ship\n"),
            [],
            "the tag 'B-ship' of 1 evaluation words is not among the tags",
        ),
        # Answers.
        (
            "squad",
            both("json", squad("Nile", 99)),
            [],
            "train.json, question q7: answer_start 99 is outside of the passage, which has 21",
        ),
        (
            "squad",
            both("json", squad("Danube", 4)),
            [],
            "train.json, question q7: the answer 'Danube' does not stand in the passage",
        ),
        (
            "squad",
            both("json", squad("Nile", 4, id=None)),
            [],
            'article 0, paragraph 0: not in SQuAD\'s form: "id" is missing or wrong',
        ),
        ("squad", both("json", squad("Nile", 4, answers=[])), [], "train.json"),
        ("squad", both("json", '{"data": ['), [], "train.json: cannot be read as JSON"),
        ("csv", both("csv", PAIRS), ["--problem", "spam"], "--problem spam: known are"),
        ("csv", both("csv", PAIRS), ["--problem", "span"], "train.csv"),
        ("csv", both("csv", PAIRS), ["--problem", "tagging"], "train.csv"),
    ],
)
def test_so_does_that_of_every_kind(tmp_path, capsys, task, files, options, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    output = tmp_path / "run"
    words = ["finetune", "--task", task, "--data", str(tmp_path), "--output", str(output)]
    assert main([*words, "--model", "embedded", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    errors = [line for line in printed.err.splitlines() if line.startswith("tfbert: error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in printed.err
    assert not output.exists()

"""SQuAD's form: what is read, and what is refused."""

import json

import pytest

from tfbert.errors import InputError
from tfbert.tasks.spans.squad import Answer, read_squad

CONTEXT = "In 1066 the Normans, led by William, won. William was crowned in 1066."


def squad(*entries, context=CONTEXT):
    questions = [{"id": str(n), "question": "Who?", **entry} for n, entry in enumerate(entries)]
    return {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": questions}]}]}


def written(tmp_path, content):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(content))
    return path


def right(text, start):
    return {"answers": [{"text": text, "answer_start": start}]}


def test_questions_and_answers(tmp_path):
    path = written(tmp_path, squad(right("1066", 3), {"is_impossible": True, "answers": []}))
    answered, impossible = read_squad(path)
    assert answered.answers == (Answer("1066", 3),)
    assert answered.context[slice(3, answered.answers[0].end)] == "1066"
    assert impossible.answers == ()


@pytest.mark.parametrize(("start", "found"), [(25, 28), (30, 28), (40, 42), (5, 28), (70, 42)])
def test_a_guessed_place_becomes_the_nearest_true_one(tmp_path, start, found):
    (question,) = read_squad(written(tmp_path, squad(right("William", start))))
    assert question.answers == (Answer("William", found),)


def test_questions_to_be_answered_need_no_answers(tmp_path):
    path = written(tmp_path, squad({}, {"answers": []}))
    assert [question.answers for question in read_squad(path)] == [None, None]


def test_wrong_answers_do_not_matter_where_none_are_read(tmp_path):
    path = written(tmp_path, squad(right("Harold", 3), right("1066", 3)))
    assert [it.answers for it in read_squad(path, with_answers=False)] == [None, None]


def test_an_object_a_line(tmp_path):
    """As the library `datasets` writes SQuAD."""
    path = tmp_path / "squad.jsonl"
    rows = [
        {"text": ["1066", "William"], "answer_start": [3, 28]},
        {"text": [], "answer_start": []},
    ]
    lines = [
        {"id": f"q{n}", "title": "t", "context": CONTEXT, "question": "Who?", "answers": answers}
        for n, answers in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answered, impossible = read_squad(path)
    assert answered.id == "q0" and answered.context == CONTEXT
    assert answered.answers == (Answer("1066", 3), Answer("William", 28))
    assert impossible.answers == ()
    array = tmp_path / "squad.json"
    array.write_text(json.dumps(lines))
    assert read_squad(array) == [answered, impossible]
    lines[1]["answers"] = {"text": ["William"], "answer_start": []}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match=r"squad\.jsonl, line 2: 1 answers, but 0 answer_start"):
        read_squad(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "holds no"),
        ({}, 'line 1: not in SQuAD\'s form: "context"'),
        ({"data": {}}, 'there is no list "data"'),
        ({"data": []}, "holds no questions"),
        (squad(right("1066", 3), {}), "question 1: no answer, and not marked as impossible"),
        (squad({"answers": {"text": "a"}}), 'question 0: "answers" must be a list'),
        ({"data": [{"title": "t"}]}, 'article 0: .* "paragraphs"'),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, 'article 0, paragraph 0: .* "context"'),
        (squad({"question": None}), 'question 0: .* "question"'),
        (squad(right("Harold", 3)), "'Harold' does not stand in the passage"),
        (squad(right("1066", 700)), "700 is outside of the passage, which has 70 characters"),
        (squad(right("1066", -1)), "-1 is outside"),
        (squad(right(" ", 2)), "an answer is empty"),
        (squad(right("1066", 3), {**right("1066", 3), "id": "0"}), "two questions have the id 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, reason):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=reason) as error:
        read_squad(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_json(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_squad(path)

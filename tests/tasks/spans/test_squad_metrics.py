"""SQuAD's scores by examples worked out by hand."""

import random

import numpy as np
import pytest
from helpers.squad_reference import scores

from tfbert.tasks.spans.squad import Answer, Question
from tfbert.tasks.spans.squad_metrics import (
    best_null_threshold,
    normalized,
    score_of,
    squad_scores,
)


def question(*answers, name="q"):
    return Question(name, "?", "c", tuple(Answer(a, 0) for a in answers))


def test_what_is_compared():
    assert normalized("The  Cat's\tan \u00a0Apple, a day!") == "cats apple day"


@pytest.mark.parametrize(
    ("answer", "rights", "exact", "f1"),
    [
        ("the cat", ["cat"], 1, 1),
        ("black cat", ["cat"], 0, 2 / 3),
        ("black cat", ["dog", "cat", "black cat sat"], 0, 4 / 5),
        ("cat cat", ["cat"], 0, 2 / 3),
        ("dog", ["cat"], 0, 0),
        ("", ["cat"], 0, 0),
        ("", [], 1, 1),
        ("cat", [], 0, 0),
        ("the", [], 1, 1),  # of "the" nothing is left
    ],
)
def test_a_score(answer, rights, exact, f1):
    assert score_of(answer, question(*rights)) == pytest.approx((exact, f1))


def test_all_scores_in_percent():
    questions = [question("cat", name="a"), question("dog", name="b"), question(name="c")]
    scores = squad_scores({"a": "the cat", "c": "bird"}, questions)  # b is not answered
    assert scores == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(100 / 3),
        "examples": 3,
        "has_answer_exact_match": 50,
        "has_answer_f1": 50,
        "no_answer_exact_match": 0,
    }
    assert squad_scores({"a": "cat"}, questions[:1]) == {
        "exact_match": 100,
        "f1": 100,
        "examples": 1,
    }


def test_as_the_official_script_defines_it():
    rng = random.Random(0)
    words = [
        "The",
        "a",
        "cat",
        "cat",
        "Sat",
        "on",
        "an",
        "mat.",
        "U.S.",
        "\u00e9t\u00e9",
        "-",
        "the-cat",
    ]

    def text(shortest):
        return rng.choice([" ", "  ", "\n"]).join(rng.choices(words, k=rng.randrange(shortest, 5)))

    rights = [[text(1) for _ in range(rng.randrange(4))] for _ in range(500)]
    given = [rng.choice([*answers, text(0)]) for answers in rights]
    questions = [question(*texts, name=str(n)) for n, texts in enumerate(rights)]
    found = squad_scores({str(n): answer for n, answer in enumerate(given)}, questions)
    assert (found["exact_match"], found["f1"]) == pytest.approx(scores(given, rights), abs=1e-9)


def test_the_threshold_is_the_best_of_all(seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        questions = [
            question(*(["cat"] if rng.random() < 0.6 else []), name=str(n)) for n in range(12)
        ]
        nulls = {q.id: float(rng.integers(-3, 4)) for q in questions}
        given = {q.id: str(rng.choice(["cat", "dog", "black cat"])) for q in questions}

        def f1_at(threshold, questions=questions, nulls=nulls, given=given):
            chosen = {i: "" if nulls[i] > threshold else text for i, text in given.items()}
            return squad_scores(chosen, questions)["f1"]

        tried = [f1_at(t) for t in [float("-inf"), *nulls.values()]]
        assert f1_at(best_null_threshold(given, nulls, questions)) == pytest.approx(max(tried))


def test_the_last_digits_of_null_scores_do_not_decide():
    questions = [question("cat", name="0"), question("cat", name="1"), question(name="2")]
    answers = dict.fromkeys("012", "cat")
    assert best_null_threshold(answers, {"0": -2.0, "1": 0.5, "2": 1.5}, questions) == 1.0
    # An infinite score is that of a passage without words.
    nulls = {"0": -2.0, "1": 0.5, "2": float("inf")}
    assert best_null_threshold(answers, nulls, questions) == 1.5
    assert best_null_threshold(answers, nulls, questions[:2]) == 1.5


def test_where_no_question_has_an_answer_there_are_no_scores_of_such():
    scores = squad_scores({"0": "", "1": "cat"}, [question(name="0"), question(name="1")])
    assert scores == {"exact_match": 50, "f1": 50, "examples": 2, "no_answer_exact_match": 50}


def test_no_answer_is_ever_best():
    questions = [question(name=str(n)) for n in range(3)]
    answers = dict.fromkeys("012", "cat")
    assert best_null_threshold(answers, {"0": 2.0, "1": -3.0, "2": 0.0}, questions) == -4

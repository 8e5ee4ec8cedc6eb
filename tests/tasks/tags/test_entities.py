"""Entities of tags in each scheme, and their scores; expected values are those of seqeval 1.2.2."""

import json
import pathlib

import pytest

from tfbert.tasks.tags.entities import (
    as_iob2,
    entities_of,
    entity_scores,
    is_tagging_of_entities,
)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-a I-a O B-b", [("a", 1, 2), ("b", 4, 4)]),  # IOB2
        ("B-a B-a I-a", [("a", 0, 0), ("a", 1, 2)]),
        ("I-a I-a O I-b", [("a", 0, 1), ("b", 3, 3)]),  # IOB1: I begins
        ("I-a B-a I-a", [("a", 0, 0), ("a", 1, 2)]),
        ("I-a I-b", [("a", 0, 0), ("b", 1, 1)]),
        ("S-a B-b I-b E-b O", [("a", 0, 0), ("b", 1, 3)]),  # IOBES
        (
            "U-a B-b I-b L-b O",
            [("a", 0, 0), ("b", 1, 3)],
        ),  # BILOU
        ("B-a E-a S-a", [("a", 0, 1), ("a", 2, 2)]),
        ("E-a I-a", [("a", 0, 0), ("a", 1, 1)]),  # broken: an end begins
        ("O O", []),
        ("", []),
        ("B-a-b I-a-b", [("a-b", 0, 1)]),  # a type with a hyphen
    ],
)
def test_entities(tags, expected):
    assert entities_of(tags.split()) == expected


@pytest.mark.parametrize(
    ("tags", "iob2"),
    [
        ("I-a I-a B-a O", "B-a I-a B-a O"),
        ("S-a B-b E-b", "B-a B-b I-b"),
        ("B-a I-a", "B-a I-a"),
    ],
)
def test_every_scheme_becomes_iob2(tags, iob2):
    assert as_iob2(tags.split()) == iob2.split()


def test_scores_worked_out_by_hand():
    right = [["B-a", "I-a", "O", "B-b"], ["O", "B-b"]]
    given = [["B-a", "I-a", "O", "B-a"], ["B-b", "B-b"]]
    # Given: a(0-1) right, a(3) wrong, b(0) wrong, b(1) right; there are a, b, b.
    scores = entity_scores(given, right)
    assert (scores["precision"], scores["recall"]) == (pytest.approx(2 / 4), pytest.approx(2 / 3))
    assert scores["f1"] == pytest.approx(4 / 7)
    assert scores["per_class"]["a"] == {
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "examples": 1,
    }
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0.5) / 2)


def test_nothing_found_is_0_and_not_an_error():
    assert entity_scores([["O"]], [["O"]])["f1"] == 0


def test_which_labels_are_tags_of_entities():
    assert is_tagging_of_entities(["O", "B-a", "I-a"])
    assert not is_tagging_of_entities(["NN", "VB", "O"])
    assert not is_tagging_of_entities(["O"])


@pytest.mark.parametrize("number", range(6))
def test_scores_of_random_and_of_broken_tags_are_seqevals(number):
    path = pathlib.Path(__file__).with_name("seqeval.json")  # by scripts/seqeval_reference.py
    case = json.loads(path.read_text())[number]
    found = [[list(entity) for entity in entities_of(tags)] for tags in case["given"]]
    assert found == case["entities"]
    scores = entity_scores(case["given"], case["right"])
    ours = [scores["precision"], scores["recall"], scores["f1"]]
    assert ours == pytest.approx(case["micro"])
    assert scores["macro_f1"] == pytest.approx(case["macro_f1"])
    theirs = case["per_class"]
    assert scores["per_class"].keys() == theirs.keys()
    for kind, row in scores["per_class"].items():
        expected = [theirs[kind][name] for name in ("precision", "recall", "f1", "support")]
        assert [row["precision"], row["recall"], row["f1"], row["examples"]] == pytest.approx(
            expected
        )

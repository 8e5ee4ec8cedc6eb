import logging
import re

import pytest

from tfbert.errors import InputError
from tfbert.tasks.labels import check_labels, one_spelling, spelled_like


@pytest.fixture(autouse=True)
def log_level(caplog):
    caplog.set_level(logging.INFO, "tfbert")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["1", "1.0", "0", "+0.000"], ["1", "1", "0", "0"]),
        (["True", "true", "FALSE"], ["true", "true", "FALSE"]),
        (["true", "1", "false", "0.0"], ["1", "1", "0", "0"]),
        (["1.0", "2.0", "1.0"], ["1.0", "2.0", "1.0"]),
        (["1", "01", "1.5", "Good", "good"], ["1", "01", "1.5", "Good", "good"]),
        (["-1", "-1.0", "-1."], ["-1"] * 3),
        (["10", "1"], ["10", "1"]),
    ],
)
def test_which_spellings_are_one_label(labels, expected, caplog):
    assert one_spelling(labels) == expected
    assert ("are one: " in caplog.text) is (labels != expected)


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["0", "1"], ["1.0", "0.0", "true", "False"], ["1", "0", "1", "0"]),
        (["False", "True"], ["1", "0", "true", "True"], ["True", "False", "True", "True"]),
        (["1.0", "2.0"], ["2", "1"], ["2.0", "1.0"]),
        (["good", "bad"], ["Good", "bad"], ["Good", "bad"]),
        (["1", "2"], ["3.0", "yes"], ["3.0", "yes"]),
        (
            ["LABEL_0", "LABEL_1"],
            ["1", "false", "LABEL_1", "2"],
            ["LABEL_1", "LABEL_0", "LABEL_1", "2"],
        ),
        (["LABEL_1", "LABEL_2"], ["1", "2"], ["1", "2"]),
    ],
)
def test_labels_are_spelled_as_in_training(names, labels, expected):
    assert spelled_like(labels, names) == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([f"{i / 10}" for i in range(41)] * 10, "41 different numbers in 410 examples: .*scores"),
        ([f"{i}" for i in range(41)] * 2, "41 different numbers in 82 examples: .*scores"),
        ([f"text {i}" for i in range(30)] + ["a"], "31 different labels in 31 examples: nearly"),
        (["good", "bad"] * 9 + ["good,bad"], r"'good,bad' of 1 examples is several .*good\+bad"),
        ([f"{i},{i % 10}" for i in range(41)] * 2, "41 different numbers .*scores"),
        ([f"{i}%" for i in range(41)] * 2, "41 different numbers .*scores"),
        (["1", "5", "1,5"] * 2, "'1,5' of 2 examples .*1.5 if it is a number"),
        (["['a']", "['b']", "['a', 'b']"], r"several labels at once.*a\+b"),
        (["1", "2", "1;2", "1;2"], "'1;2' of 2 examples is several labels at once"),
        ([f"{i / 10}" for i in range(41)] * 10, "scores; --problem regression learns scores"),
        (["a", "b", "a,b"], "--problem multilabel --label-separator , learns them"),
        (["a", "b", "a|b"], r"--problem multilabel --label-separator '\|' learns them"),
        (["a", "b", "a\tb"], "--problem multilabel --label-separator tab learns them"),
    ],
)
def test_labels_that_are_no_classes(labels, message):
    with pytest.raises(InputError, match=message):
        check_labels(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["Good", "good", "good", "bad"],
            r"'Good' \(1 examples\) and 'good' \(2 examples\)",
        ),
        (
            ["caf\u00e9", "cafe\u0301", "bar"],
            "differ only in .* forms of the same letter",
        ),
        (
            ["very good", "very\u00a0good", "bad"],
            "differ only in .* spaces",
        ),
        (
            ["good"] * 9 + ["bad", "good,any"],
            "'good,any' of 1 examples holds another label",
        ),
        (
            [f"{i}" for i in range(41)] * 3,
            "41 different whole numbers are taken for",
        ),
    ],
)
def test_doubtful_labels_are_told(labels, message, caplog):
    check_labels(labels)
    (record,) = caplog.records
    assert re.search(message, record.getMessage())


@pytest.mark.parametrize(
    "labels",
    [
        [f"{i / 2}" for i in range(1, 11)],  # half stars
        [f"{i / 2}" for i in range(20)],
        [f"{i}" for i in range(20)],
        [f"class {i}" for i in range(77)] * 2,
        ["Paris, Texas", "Berlin", "a;b"],
    ],
)
def test_what_may_well_be_classes(labels, caplog):
    check_labels(labels)
    assert not caplog.records

"""Labels as people write them: which spellings are one label, and which labels look like mistakes.

`1`, `1.0` and `true` are one label, `0`, `0.0` and `false` another; whole numbers are compared by
value. All else is compared letter by letter: "Good" and "good" are two labels.
"""

import logging
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.formats.rows import check_characters

_log = logging.getLogger("tfbert")

_WHOLE = re.compile(r"\+?(-?[0-9]+)(\.0*)?")
_NUMBER = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+([eE][-+]?[0-9]+)?%?")
_TRUTH = {"true": "1", "false": "0"}
_PARTS = re.compile(r"[,;|\t]")
_LIST = " []()'\""  # around and within lists as Python writes them

# As many numbers as there are half steps on a scale of ten: more are scores, not classes.
_MOST_NUMBERS = 20
# Whole numbers may well be classes (a catalogue's, say), but then most of them come again.
_LEAST_EXAMPLES = 3


def label_text(value: Any, path: str | Path, place: str) -> str | None:
    """A label as text: whole numbers without decimals, `true` and `false` as JSON has them.

    Args:
        value: What a cell holds.
        path, place: File and line, for messages.

    Returns:
        None of an empty cell.

    Raises:
        InputError: If it is no label.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if not isinstance(value, str) and not is_number:
        raise InputError(
            f"{path}, {place}: the label must be a string, a number, true or false, not {value!r}"
        )
    label = str(value).strip()
    check_characters(label, path, place)
    return label or None


def label_key(label: str) -> str:
    """What labels are compared by: equal of two spellings of one label."""
    whole = _WHOLE.fullmatch(label)
    return whole[1] if whole else _TRUTH.get(label.lower(), label)


def one_spelling(labels: Sequence[str]) -> list[str]:
    """The labels, each in one spelling: the plain one (`1`) where the data have several."""
    spellings = defaultdict(set)
    for label in set(labels):
        spellings[label_key(label)].add(label)
    several = {key: found for key, found in spellings.items() if len(found) > 1}
    names: dict[str, str] = {}
    for key, found in several.items():
        lowered = {label.lower() for label in found}
        plain = lowered.pop() if len(lowered) == 1 else key  # True and true
        names |= dict.fromkeys(found, plain)
        _log.info("the labels %s are one: %s", ", ".join(map(repr, sorted(found))), plain)
    return [names.get(label, label) for label in labels]


def spelled_like(labels: Sequence[str], names: Iterable[str]) -> list[str]:
    """The labels in the spelling of some names; labels that are none of them stay as they are.

    Of names that only count (`LABEL_1`, see `unnamed`), the number is a spelling.
    """
    names = list(names)
    by_key = {label_key(name): name for name in names}
    if unnamed(names):
        by_key |= {str(number): name for number, name in enumerate(names)}
    names = set(names)
    return [label if label in names else by_key.get(label_key(label), label) for label in labels]


def unnamed(labels: Sequence[str]) -> bool:
    """Whether the labels are those that Hugging Face gives to a head whose labels have no names."""
    return list(labels) == [f"LABEL_{number}" for number in range(len(labels))]


def ordered(labels: Iterable[str]) -> list[str]:
    """The different labels in order: integers by value, else alphabetical."""
    names = set(labels)
    integers = all(re.fullmatch("-?[0-9]{1,18}", name) for name in names)
    # `1` and `01` are two labels: the name decides where the value does not.
    return sorted(names, key=lambda name: (int(name) if integers else 0, name))


class UnknownLabelError(InputError):
    """A label that training had not.

    Args:
        label: As the model's labels are written.
    """

    def __init__(self, message: str, label: str) -> None:
        super().__init__(message)
        self.label = label


def check_known(labels: Iterable[str], names: Sequence[str], what: str = "label") -> None:
    """Compares the labels of evaluation examples with those of a model.

    Args:
        what: What a label is called, for messages.

    Raises:
        UnknownLabelError: If one is not among the names.
    """
    known = set(names)
    unknown = Counter(label for label in labels if label not in known)
    if unknown:
        label, count = unknown.most_common(1)[0]
        of = "words" if what == "tag" else "examples"
        raise UnknownLabelError(
            f"the {what} {label!r} of {count} evaluation {of} is not among the {what}s that the "
            f"model was trained on ({', '.join(names)})",
            label,
        )


def given_weights(requested: str | list[float], labels: Sequence[str]) -> np.ndarray:
    """`--class-weights` of a number for each label: (labels,) float32.

    Raises:
        InputError: If there are not as many numbers as labels.
    """
    if len(requested) != len(labels):
        raise InputError(
            f"--class-weights has {len(requested)} numbers for {len(labels)} labels "
            f"({', '.join(labels)})"
        )
    return np.array(requested, np.float32)


def check_labels(labels: Sequence[str]) -> None:
    """Looks for labels of training examples that are no classes.

    Raises:
        InputError: If they are scores, or nearly every example has one of its own, or one is
            several labels at once.
    """
    counts = Counter(labels)
    _check_numbers(counts)
    _check_parts(counts)
    alike = defaultdict(list)
    for label in sorted(counts):
        alike[_looks(label)].append(f"{label!r} ({counts[label]} examples)")
    for spellings in alike.values():
        if len(spellings) > 1:
            _log.info(
                "the labels %s differ only in upper and lower case, spaces, or forms of the same "
                "letter, and are classes of their own; write them alike if one is meant",
                " and ".join(spellings),
            )


def _looks(label: str) -> str:
    """What people read: without case, kinds of spaces, and Unicode's forms of one letter."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def _check_numbers(counts: Counter[str]) -> None:
    examples = counts.total()
    if len(counts) <= _MOST_NUMBERS:
        return
    are_numbers = all(map(_NUMBER.fullmatch, counts))
    few = len(counts) * _LEAST_EXAMPLES > examples
    found = f"the label column has {len(counts)} different"
    if are_numbers and (few or not all(map(_WHOLE.fullmatch, counts))):
        raise InputError(
            f"{found} numbers in {examples} examples: they look like scores; --problem regression "
            f"learns scores, and classes are at most {_MOST_NUMBERS} numbers, ranges of them (low, "
            "high) or words (class 7); or is it another --label-column?"
        )
    if are_numbers:
        _log.info(
            "%d different whole numbers are taken for as many classes; if they are scores, give "
            "--problem regression",
            len(counts),
        )
    elif len(counts) * 4 > examples * 3:
        raise InputError(
            f"{found} labels in {examples} examples: nearly every text has one of its own, from "
            "which nothing can be learned; is it another --label-column?"
        )


def _check_parts(counts: Counter[str]) -> None:
    """Labels that hold others: `good,bad`."""
    singles = {label.strip(_LIST) for label in counts} - {""}
    for label in sorted(counts):
        parts = [part.strip(_LIST) for part in _PARTS.split(label)]
        known = [part for part in parts if part in singles]
        if len(parts) == 1 or not known:
            continue
        if len(known) == len(parts):
            are_numbers = len(parts) == 2 and all(part.isdigit() for part in parts)
            separator = (_PARTS.findall(label))[0].replace("\t", "tab")
            separator = f"'{separator}'" if separator in ";|" else separator  # for the shell
            raise InputError(
                f"the label {label!r} of {counts[label]} examples is several labels at once: "
                f"--problem multilabel --label-separator {separator} learns them; if it is a class "
                f"of its own, write it without the separator ({'+'.join(parts)}"
                + (f", or {'.'.join(parts)} if it is a number)" if are_numbers else ")")
            )
        _log.info(
            "the label %r of %d examples holds another label, %r, and is a class of its own: is "
            "a row broken, or a separator outside quotes?",
            label,
            counts[label],
            known[0],
        )

"""Any number of several labels for each text, or pair of texts: none, one, or more."""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.rows import json_value
from tfbert.tasks.formats.tables import Layout, is_unlabelled, read_table
from tfbert.tasks.labels import (
    check_known,
    given_weights,
    label_key,
    label_text,
    one_spelling,
    ordered,
    spelled_like,
)
from tfbert.tasks.problem import Outputs, Problem
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.tokens.encoded import EncodedExamples
from tfbert.tasks.tokens.long_texts import (
    check_long_texts,
    encode_texts,
    with_targets,
)
from tfbert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    import keras

_SEPARATORS = ",;|/\t"


@dataclasses.dataclass(frozen=True)
class Multilabel(Problem):
    """A yes or no for each label, by a sigmoid.

    Args:
        long_texts, doc_stride: As in `ProblemOptions`.
    """

    name: ClassVar[str] = "multilabel"

    long_texts: str = "cut"
    doc_stride: int = 128

    # === Data ===

    @classmethod
    def read(cls, path: str | Path, layout: Layout, labelled: bool = True) -> Examples:
        columns = _columns(layout)
        if len(columns) > 1:
            return read_table(path, layout, _labels_of_columns, labelled, columns)
        separator = layout.label_separator
        if separator is None and layout.form != "jsonl":
            separator = ","  # in JSON there are lists
        label_of = functools.partial(labels_of_cell, separator=separator)
        return read_table(path, layout, label_of, labelled)

    @classmethod
    def is_unlabelled(cls, path: str | Path, layout: Layout) -> bool:
        first = _columns(layout)[0]
        return is_unlabelled(path, dataclasses.replace(layout, label_column=first))

    @classmethod
    def named(cls, labels: list[list[str]], names: Mapping[str, str]) -> list[list[str]]:
        spelled = iter(one_spelling(list(itertools.chain.from_iterable(labels))))
        found = [list(itertools.islice(spelled, len(row))) for row in labels]
        # Of `1` and `1.0`, one is left.
        return [
            list(dict.fromkeys(names.get(label_key(label), label) for label in row))
            for row in found
        ]

    @classmethod
    def check(cls, train: Examples) -> None:
        counts = Counter(itertools.chain.from_iterable(train.labels or []))
        if not counts:
            raise InputError(f"none of the {len(train.texts)} training examples has a label")
        for label in sorted(counts):
            for separator in _SEPARATORS:
                parts = [part.strip() for part in label.split(separator)]
                if len(parts) > 1 and set(parts) <= counts.keys():
                    raise InputError(
                        f"the label {label!r} of {counts[label]} examples is several labels: give "
                        f"--label-separator {separator!r}, or write it without {separator!r} if it "
                        "is one"
                    )
        if len(counts) * 4 > counts.total() * 3 and len(counts) > 20:
            raise InputError(
                f"the label column has {len(counts)} different labels in {len(train.texts)} "
                "examples: nearly every text has one of its own, from which nothing can be "
                "learned; is it another --label-column, or another --label-separator?"
            )

    @classmethod
    def strata(cls, examples: Examples) -> list[str] | None:
        """By the rarest label of each: of every label, some examples stay for training."""
        labels = examples.labels or []
        counts = Counter(itertools.chain.from_iterable(labels))
        return [min(found, key=lambda name: (counts[name], name), default="") for found in labels]

    @classmethod
    def from_data(
        cls,
        train: Examples,
        evaluation: Examples,
        options: ProblemOptions,
        main_metric: str | None = None,
    ) -> Multilabel:
        check_long_texts(options.long_texts, train)
        labels = ordered(itertools.chain.from_iterable(train.labels or []))
        found = itertools.chain.from_iterable(evaluation.labels or [])
        check_known(spelled_like(list(found), labels), labels)
        return cls(
            labels,
            main_metric or "macro_f1",
            train.pairs is not None,
            options.long_texts,
            options.doc_stride,
        )

    def class_weights(self, requested: str | list[float], train: Examples) -> np.ndarray | None:
        """The weight of each label's positive decisions; balanced: as much as its negative ones."""
        if requested == "none":
            return None
        if requested != "balanced":
            return given_weights(requested, self.labels)
        positive = self._decisions(train).sum(0)
        negative = len(train.texts) - positive
        return (np.maximum(negative, 1) / np.maximum(positive, 1)).astype(np.float32)

    def encode(
        self,
        tokenizer: BertTokenizer,
        examples: Examples,
        max_length: int,
        cache: str = "none",
        class_weights: np.ndarray | None = None,
    ) -> EncodedExamples:
        """See `Problem.encode`; targets are those of `losses.LabelDecisions`."""
        encoded = encode_texts(
            tokenizer, examples, max_length, cache, self.long_texts, self.doc_stride
        )
        if examples.labels is None:
            return encoded
        values = self._decisions(examples).astype(np.float32)
        if class_weights is not None:
            values *= class_weights
        return with_targets(encoded, values)

    def _decisions(self, examples: Examples) -> np.ndarray:
        """(examples, labels) bool: which of the labels each text has."""
        found = examples.labels or []
        flat = spelled_like(list(itertools.chain.from_iterable(found)), self.labels)
        check_known(flat, self.labels)
        positions = {label: number for number, label in enumerate(self.labels)}
        decisions = np.zeros((len(found), self.outputs), bool)
        rows = np.repeat(np.arange(len(found)), [len(labels) for labels in found])
        decisions[rows, [positions[label] for label in flat]] = True
        return decisions

    # === Training ===

    def make_loss(self) -> keras.losses.Loss:
        from tfbert.tasks.problems.losses import LabelDecisions

        return LabelDecisions()

    def make_metrics(self) -> list[keras.metrics.Metric]:
        from tfbert.tasks.problems.losses import SubsetAccuracy

        return [SubsetAccuracy()]

    # === Results ===

    def measure(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples
    ) -> dict[str, Any]:
        metrics = multilabel_metrics(outputs, self._decisions(examples), self.labels)
        return {**metrics, "main_metric": self.main_metric}

    def answers(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples, n_best: int = 1
    ) -> list[dict[str, Any]]:
        answers = []
        logits = np.asarray(outputs, np.float64)
        for row in np.exp(-np.logaddexp(0, -logits)):  # the sigmoid, without an overflow
            best = np.argsort(-row, kind="stable").tolist()
            found = [number for number in best if row[number] > 0.5]
            answer: dict[str, Any] = {
                "labels": [self.labels[number] for number in found],
                "probabilities": [float(row[number]) for number in found],
            }
            if n_best > 1:
                answer["n_best"] = [
                    {"label": self.labels[number], "probability": float(row[number])}
                    for number in best[:n_best]
                ]
            answers.append(answer)
        return answers

    def remarks(self, outputs: Outputs, examples: Examples, metrics: dict[str, Any]) -> list[str]:
        if np.any(np.asarray(outputs) > 0) or not any(examples.labels or []):
            return []
        return [
            f"none of the {metrics['examples']} examples got a label, as no probability is above "
            "0.5; train it with more --epochs, a higher --learning-rate or, where labels are rare, "
            "--class-weights balanced"
        ]


def multilabel_metrics(logits: Any, right: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Metrics of yes and no for each label, as scikit-learn defines them, computed in float64.

    Args:
        logits: (examples, labels); above 0 is yes.
        right: (examples, labels) bool.

    Returns:
        A dict of `macro_f1`, the mean over the labels; `micro_f1`, of all decisions together;
        `samples_f1`, the mean over the examples; `subset_accuracy`, the share of examples with
        every label right; `loss`, the mean cross-entropy of all decisions in nats; `examples`; and
        `per_class`: by label `precision`, `recall`, `f1` and `examples`. What divides by 0 is 0.
    """
    logits = np.asarray(logits, np.float64)
    given = logits > 0
    precision, recall, f1 = _rates(given, right, axis=0)
    return {
        "macro_f1": float(f1.mean()),
        "micro_f1": float(_rates(given, right, axis=None)[2]),
        "samples_f1": float(_rates(given, right, axis=1)[2].mean()),
        "subset_accuracy": float((given == right).all(1).mean()),
        "loss": float(np.logaddexp(0, np.where(right, -logits, logits)).mean()),
        "examples": len(right),
        "per_class": {
            label: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "examples": int(right[:, number].sum()),
            }
            for number, label in enumerate(labels)
        },
    }


def _rates(given, right, axis):
    """Precision, recall and F1 along an axis."""
    common, given, right = ((part).sum(axis) for part in (given & right, given, right))

    def share(part, whole):
        return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)

    return share(common, given), share(common, right), share(2 * common, given + right)


def _columns(layout: Layout) -> list[str]:
    """The columns of labels: one with all, or one a label, which holds 1 or 0."""
    return [name.strip() for name in layout.label_column.split(",")]


def labels_of_cell(
    value: Any, path: str | Path, place: str, separator: str | None
) -> list[str] | None:
    """The labels in a cell; None of JSON's null.

    Args:
        value: A list, a list as Python or JSON writes it, or labels with separators; empty means
            that there is none.
        separator: Between labels; None takes a string for one label.

    Raises:
        InputError: If something in it is no label.
    """
    if value is None:
        return None
    parts = value if isinstance(value, list) else [value]
    if isinstance(value, str):
        written = _written_list(value)
        parts = written if written is not None else value.split(separator) if separator else parts
    labels = [label_text(part, path, place) for part in parts]
    return list(dict.fromkeys(filter(None, labels)))


def _written_list(text: str) -> list[Any] | None:
    """The list that a text spells, as pandas writes columns of lists; else None."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    value = json_value(text)
    if value is None:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _labels_of_columns(cells: dict[str, Any], path: str | Path, place: str) -> list[str] | None:
    """The names of the columns that hold a 1; None of cells that are all empty."""
    if all(value in (None, "") for value in cells.values()):
        return None
    found = []
    for name, value in cells.items():
        decision = label_key(str(value).strip())
        if decision not in ("0", "1"):
            raise InputError(
                f"{path}, {place}: the column {name!r} holds {value!r}: each column of a label "
                "holds 1 or 0, true or false"
            )
        if decision == "1":
            found.append(name)
    return found

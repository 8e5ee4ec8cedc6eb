"""One of several labels for each text, or pair of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.labels import (
    UnknownLabelError,
    check_known,
    check_labels,
    given_weights,
    label_key,
    label_text,
    one_spelling,
    ordered,
    spelled_like,
)
from tfbert.tasks.metrics import f1_of_class, matthews
from tfbert.tasks.problem import Outputs, Problem, per_class_lines
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.tokens.encoded import EncodedExamples
from tfbert.tasks.tokens.long_texts import check_long_texts, encode_texts, with_targets
from tfbert.tasks.uncertainty import wide_interval
from tfbert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    import keras

# What benchmarks ask for, of answers and right labels as numbers, and how many labels there are.
_OTHER_METRICS = {
    "matthews": lambda answers, ids, labels: matthews(answers, ids),
    "f1": lambda answers, ids, labels: f1_of_class(answers, ids, labels - 1),
}


@dataclasses.dataclass(frozen=True)
class Classification(Problem):
    """A softmax over the labels (Devlin et al. 2019, section 4.1).

    The main metric is `accuracy`, `macro_f1`, `matthews`, or `f1`, that of the last label.

    Args:
        long_texts, doc_stride: As in `ProblemOptions`.
    """

    name: ClassVar[str] = "classification"

    long_texts: str = "cut"
    doc_stride: int = 128

    @classmethod
    def label_of(cls, value: Any, path: str | Path, place: str) -> str | None:
        return label_text(value, path, place)

    @classmethod
    def named(cls, labels: list[str], names: Mapping[str, str]) -> list[str]:
        return [names.get(label_key(label), label) for label in one_spelling(labels)]

    @classmethod
    def check(cls, train: Examples) -> None:
        check_labels(train.labels or [])

    @classmethod
    def strata(cls, examples: Examples) -> list[str] | None:
        return examples.labels

    @classmethod
    def from_data(
        cls,
        train: Examples,
        evaluation: Examples,
        options: ProblemOptions,
        main_metric: str | None = None,
    ) -> Classification:
        names = train.labels or []
        labels = label_names(names, spelled_like(evaluation.labels or [], names))
        check_long_texts(options.long_texts, train)
        return cls(
            labels,
            main_metric or "accuracy",
            train.pairs is not None,
            options.long_texts,
            options.doc_stride,
        )

    def class_weights(self, requested: str | list[float], train: Examples) -> np.ndarray | None:
        if requested == "none":
            return None
        if requested == "balanced":
            ids = self._label_ids(train)
            counts = np.bincount(ids, minlength=self.outputs)
            return (len(ids) / (self.outputs * counts)).astype(np.float32)
        return given_weights(requested, self.labels)

    def encode(
        self,
        tokenizer: BertTokenizer,
        examples: Examples,
        max_length: int,
        cache: str = "none",
        class_weights: np.ndarray | None = None,
    ) -> EncodedExamples:
        encoded = encode_texts(
            tokenizer, examples, max_length, cache, self.long_texts, self.doc_stride
        )
        if examples.labels is None:
            return encoded
        ids = self._label_ids(examples)
        return with_targets(encoded, ids, None if class_weights is None else class_weights[ids])

    def make_loss(self) -> keras.losses.Loss:
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def make_metrics(self) -> list[keras.metrics.Metric]:
        import keras

        return [keras.metrics.SparseCategoricalAccuracy("accuracy")]

    def measure(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples
    ) -> dict[str, Any]:
        ids = self._label_ids(examples)
        metrics = classification_metrics(outputs, ids, self.labels)
        if self.main_metric in _OTHER_METRICS:
            other = _OTHER_METRICS[self.main_metric]
            metrics[self.main_metric] = other(np.argmax(outputs, -1), ids, self.outputs)
        return {**metrics, "main_metric": self.main_metric}

    def answers(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples, n_best: int = 1
    ) -> list[dict[str, Any]]:
        found = []
        for row in np.exp(log_probabilities(outputs)):
            best = np.argsort(-row, kind="stable")[:n_best]
            answer = {"label": self.labels[best[0]], "probability": float(row[best[0]])}
            if n_best > 1:
                answer["n_best"] = [
                    {"label": self.labels[i], "probability": float(row[i])} for i in best
                ]
            found.append(answer)
        return found

    def remarks(self, outputs: Outputs, examples: Examples, metrics: dict[str, Any]) -> list[str]:
        remark = wide_interval(metrics["accuracy"], metrics["examples"])
        answers = np.unique(np.argmax(outputs, -1))
        if len(answers) > 1 or len(set(examples.labels or [])) < 2:
            return [remark] if remark else []
        one_answer = (
            f"every one of the {metrics['examples']} examples was answered with "
            f"{self.labels[answers[0]]!r}: the classifier does not tell the classes apart; train "
            "it with a lower --learning-rate, more --epochs or, where a class is rare, "
            "--class-weights balanced"
        )
        return [*filter(None, [remark]), one_answer]

    @classmethod
    def table(cls, metrics: dict[str, Any]) -> str:
        others = ("accuracy", "macro_f1", "loss", "per_class", "examples", "seconds")
        more = [
            f", {name.replace('_', ' ')} {value:.4f}"
            for name, value in metrics.items()
            if name not in others and isinstance(value, float)
        ]
        lines = [
            f"{metrics['examples']} examples: accuracy {metrics['accuracy']:.4f}, "
            f"macro F1 {metrics['macro_f1']:.4f}{''.join(more)}, loss {metrics['loss']:.4f}",
            *per_class_lines(metrics["per_class"]),
        ]
        return "\n".join(lines)

    def _label_ids(self, examples: Examples) -> np.ndarray:
        return label_ids(spelled_like(examples.labels or [], self.labels), self.labels)


def label_names(train: Sequence[str], evaluation: Sequence[str]) -> list[str]:
    """The labels of the training examples in order: integers by value, else alphabetical.

    Raises:
        InputError: If there is only one, or the evaluation examples have one that training lacks.
    """
    names = set(train)
    if len(names) < 2:
        raise InputError(
            f"all {len(train)} training examples have the label {train[0]!r}; "
            "a classifier needs at least two labels"
        )
    check_known(evaluation, ordered(names))
    return ordered(names)


def label_ids(labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The labels as positions in `names`: (examples,) int32.

    Raises:
        UnknownLabelError: If one is not among them.
    """
    positions = {name: position for position, name in enumerate(names)}
    if unknown := set(labels) - positions.keys():
        raise UnknownLabelError(
            f"the label {min(unknown)!r} is not among the labels that the model was trained on "
            f"({', '.join(names)})",
            min(unknown),
        )
    return np.array([positions[label] for label in labels], np.int32)


def log_probabilities(logits: Any) -> np.ndarray:
    """Logarithms of the classes' probabilities: (examples, classes) float64, as the logits."""
    logits = np.asarray(logits, np.float64)
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def classification_metrics(logits: Any, label_ids: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Metrics of a classifier, computed in float64.

    Args:
        logits: (examples, classes).
        label_ids: (examples,) int, the right class of each.

    Returns:
        A dict of `accuracy`, `macro_f1`, `loss` (mean cross-entropy in nats), `examples`, and
        `per_class`: by label `precision`, `recall`, `f1` and `examples`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    logits = np.asarray(logits, np.float64)
    predictions = logits.argmax(-1)
    loss = -log_probabilities(logits)[np.arange(len(logits)), label_ids].mean()
    classes = range(len(labels))
    rows = precision_recall_fscore_support(label_ids, predictions, labels=classes, zero_division=0)
    names = ("precision", "recall", "f1")
    return {
        "accuracy": float((predictions == label_ids).mean()),
        "macro_f1": float(rows[2].mean()),
        "loss": float(loss),
        "examples": len(logits),
        "per_class": {
            label: {
                **{name: float(row[i]) for name, row in zip(names, rows, strict=False)},
                "examples": int(rows[3][i]),
            }
            for i, label in enumerate(labels)
        },
    }

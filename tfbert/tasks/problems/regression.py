"""A number for each text, or pair of texts: a score, a grade, a similarity."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.metrics import pearson, spearman
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


@dataclasses.dataclass(frozen=True)
class Regression(Problem):
    """The mean squared error of a number.

    The model learns (number - mean) / deviation, so that one learning rate suits every unit.
    Answers and metrics, but for the loss, are in the data's own unit.

    Args:
        long_texts, doc_stride: As in `ProblemOptions`.
        mean, deviation: Of the training examples' numbers.
    """

    name: ClassVar[str] = "regression"

    long_texts: str = "cut"
    doc_stride: int = 128
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def outputs(self) -> int:
        return 1

    # === Data ===

    @classmethod
    def label_of(cls, value: Any, path: str | Path, place: str) -> float | None:
        """The number in a cell; None of an empty one."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            is_comma = isinstance(value, str) and value.count(",") == 1
            raise InputError(
                f"{path}, {place}: the label must be a finite number, not {value!r}"
                + (" (decimals stand behind a point)" if is_comma else "")
            )
        return number

    @classmethod
    def from_data(
        cls,
        train: Examples,
        evaluation: Examples,
        options: ProblemOptions,
        main_metric: str | None = None,
    ) -> Regression:
        check_long_texts(options.long_texts, train)
        numbers = np.array(train.labels or [], np.float64)
        if len(set(numbers.tolist())) < 2:
            raise InputError(
                f"all {len(numbers)} training examples have the number {numbers[0]:g}: there must "
                "be different ones to learn from"
            )
        return cls(
            [],
            main_metric or "pearson",
            train.pairs is not None,
            options.long_texts,
            options.doc_stride,
            float(numbers.mean()),
            float(numbers.std()),
        )

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
        values = self._standardised(examples).astype(np.float32)[:, None]  # (rows, 1)
        return with_targets(encoded, values)

    def _standardised(self, examples: Examples) -> np.ndarray:
        return (np.array(examples.labels or [], np.float64) - self.mean) / self.deviation

    # === Training ===

    def make_loss(self) -> keras.losses.Loss:
        import keras

        return keras.losses.MeanSquaredError()

    # === Results ===

    def measure(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples
    ) -> dict[str, Any]:
        """See `Problem.measure`; `loss` is in units of the deviation."""
        right = np.array(examples.labels or [], np.float64)
        given = self._numbers(outputs)
        errors = given - right
        return {
            "pearson": pearson(given, right),
            "spearman": spearman(given, right),
            "rmse": float(np.sqrt(np.square(errors).mean())),
            "mae": float(np.abs(errors).mean()),
            "loss": float(np.square(errors / self.deviation).mean()),
            "examples": len(right),
            "main_metric": self.main_metric,
        }

    def answers(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples, n_best: int = 1
    ) -> list[dict[str, Any]]:
        return [{"score": score} for score in self._numbers(outputs).tolist()]

    def _numbers(self, outputs: Outputs) -> np.ndarray:
        """(examples,) float64, in the data's unit."""
        standardised = np.asarray(outputs, np.float64)[:, 0]
        return standardised * self.deviation + self.mean

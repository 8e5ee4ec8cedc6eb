"""The answer to a question, as a piece of a passage (SQuAD)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tfbert.errors import InputError
from tfbert.io.text_files import read_text
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import Layout, form_of
from tfbert.tasks.inputs import Input, read_inputs
from tfbert.tasks.problem import Outputs, Problem
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.spans.answers import Answers, Candidate, find_answers
from tfbert.tasks.spans.encoding import WindowedPassages, encode_spans
from tfbert.tasks.spans.squad import Question, is_squad, read_squad
from tfbert.tasks.spans.squad_metrics import best_null_threshold, squad_scores
from tfbert.tasks.tokens.encoded import EncodedExamples, RowTargets
from tfbert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    import keras

_log = logging.getLogger("tfbert")

_CANDIDATES = 20  # of a window, among which the answers are looked for


@dataclasses.dataclass(frozen=True)
class Span(Problem):
    """Where in a passage the answer to a question stands (Devlin et al. 2019, sections 4.2, 4.3).

    A long passage is read in windows; the best span of all windows is the answer. Where questions
    may have none, "no answer" is given if its score, that of [CLS], exceeds the best span's by
    more than a threshold.

    Args:
        doc_stride, max_question_length, max_answer_length: As in `ProblemOptions`.
        has_impossible: Whether there are questions without an answer.
        null_threshold: The threshold for "no answer"; None before it is chosen.
    """

    name: ClassVar[str] = "span"
    head: ClassVar[Literal["pooled", "tokens"]] = "tokens"
    head_dropout: ClassVar[float] = 0.0  # as in BERT's run_squad.py
    lists_labels: ClassVar[bool] = False  # always begin and end

    doc_stride: int = 128
    max_question_length: int = 64
    max_answer_length: int = 30
    has_impossible: bool = False
    null_threshold: float | None = None

    @property
    def calibrates(self) -> bool:
        return self.has_impossible

    # === Data ===

    @classmethod
    def read(cls, path: str | Path, layout: Layout, labelled: bool = True) -> Examples:
        """Reads a file in SQuAD's form; see `read_squad`."""
        if form_of(path) in ("csv", "tsv"):
            raise InputError(
                f"{path}: answers in passages are read from JSON in SQuAD's form "
                "(docs/passages.md); tables of questions and passages are for `predict`"
            )
        examples = _examples(read_squad(path, layout.encoding, labelled))
        if labelled and examples.labels is None:
            raise InputError(
                f"{path}: no question has an answer, or is marked as impossible "
                '("is_impossible": true)'
            )
        return examples

    @classmethod
    def is_unlabelled(cls, path: str | Path, layout: Layout) -> bool:
        return all(question.answers is None for question in read_squad(path, layout.encoding))

    @classmethod
    def from_data(
        cls,
        train: Examples,
        evaluation: Examples,
        options: ProblemOptions,
        main_metric: str | None = None,
    ) -> Span:
        if not any(train.labels or []):
            raise InputError("no question of the training examples has an answer")
        if options.long_texts != "cut":
            raise InputError(
                f"--long-texts {options.long_texts}: long passages are read in windows in any "
                "case; --doc-stride says how far they are apart"
            )
        return cls(
            ["start", "end"],
            main_metric or "f1",
            True,
            options.doc_stride,
            options.max_question_length,
            options.max_answer_length,
            not all([*(train.labels or []), *(evaluation.labels or [])]),
        )

    def encode(
        self,
        tokenizer: BertTokenizer,
        examples: Examples,
        max_length: int,
        cache: str = "none",
        class_weights: np.ndarray | None = None,
    ) -> EncodedExamples:
        return encode_spans(
            tokenizer, examples, max_length, self.doc_stride, self.max_question_length
        )

    # === Training ===

    def make_loss(self) -> keras.losses.Loss:
        from tfbert.tasks.problems.span_loss import SpanLoss

        return SpanLoss()

    def make_metrics(self) -> list[keras.metrics.Metric]:
        from tfbert.tasks.problems.span_loss import SpanAccuracy

        return [SpanAccuracy()]

    # === Results ===

    def measure(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples
    ) -> dict[str, Any]:
        """SQuAD's official exact match and F1, in percent, and the loss of the rows.

        With questions that may have no answer, also the threshold; before it is chosen, that which
        suits these examples best.
        """
        found = self._find(outputs, encoded, examples)
        questions = _questions(examples)
        threshold = self._threshold(found, questions)
        given = {
            question.id: _decided(answers, threshold)
            for question, answers in zip(questions, found, strict=True)
        }
        texts = {name: answer.text if answer else "" for name, answer in given.items()}
        metrics = {
            "main_metric": self.main_metric,
            "loss": _loss(outputs, encoded.targets),
            **squad_scores(texts, questions),
        }
        return metrics if threshold is None else {**metrics, "null_threshold": threshold}

    def calibrated(self, outputs: Outputs, encoded: EncodedExamples, examples: Examples) -> Span:
        """With the threshold for "no answer" that gives the best F1."""
        if not self.calibrates:
            return self
        questions = _questions(examples)
        threshold = self._threshold(self._find(outputs, encoded, examples), questions)
        if all(question.answers for question in questions):
            _log.info(
                "every evaluation question has an answer: the threshold for `no answer` stays at 0"
            )
        return dataclasses.replace(self, null_threshold=threshold)

    def answers(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples, n_best: int = 1
    ) -> list[dict[str, Any]]:
        """Dicts of `answer`, `probability`, `start` and `end` (characters of the passage).

        Where questions may have no answer, also of `null_score`, and "no answer" is "" without a
        place. `n_best` are further candidates.
        """
        found = self._find(outputs, encoded, examples, n_best)
        threshold = self._threshold(found, [])
        said = []
        for number, answers in enumerate(found):
            none = Candidate("", None, None, 0.0, answers.null_probability)
            entries = list(answers.best)
            if threshold is not None or not entries:
                entries.append(none)
            first = _decided(answers, threshold) or none
            others = sorted(
                (entry for entry in entries if entry is not first), key=lambda it: -it.probability
            )
            answer: dict[str, Any] = {} if examples.ids is None else {"id": examples.ids[number]}
            answer |= _entry(first)
            if threshold is not None and answers.best:
                answer["null_score"] = answers.null_score
            if n_best > 1:
                answer["n_best"] = [_entry(entry) for entry in [first, *others][:n_best]]
            said.append(answer)
        return said

    @classmethod
    def table(cls, metrics: dict[str, Any]) -> str:
        lines = [
            f"{metrics['examples']} questions: exact match {metrics['exact_match']:.2f} %, "
            f"F1 {metrics['f1']:.2f} %, loss {metrics['loss']:.4f}"
        ]
        if "has_answer_f1" in metrics:
            lines.append(
                f"with an answer: exact match {metrics['has_answer_exact_match']:.2f} %, F1 "
                f"{metrics['has_answer_f1']:.2f} %"
            )
        if "no_answer_exact_match" in metrics:
            lines.append(f"without one: {metrics['no_answer_exact_match']:.2f} % right")
        if "null_threshold" in metrics:
            lines.append(f"`no answer` above a null score of {metrics['null_threshold']:.4f}")
        return "\n".join(lines)

    # === Use ===

    def read_inputs(self, path: str, layout: Layout) -> Iterator[Input]:
        """The questions of a file in SQuAD's form, with or without answers, or of a table's rows.

        A line of any other file is a question, a tab, and its passage.
        """
        if path != "-" and form_of(path) == "jsonl" and is_squad(path, layout.encoding):
            for question in read_squad(path, layout.encoding, with_answers=False):
                yield Input(_examples([question]))
            return
        # What SQuAD's keys are called, unless others are asked for.
        if layout.text_column == Layout.text_column:
            layout = dataclasses.replace(layout, text_column="question")
        layout = dataclasses.replace(layout, pair_column=layout.pair_column or "context")
        yield from read_inputs(path, layout, has_pairs=True)

    def read_passage(self, question: str, path: str, layout: Layout) -> Iterator[Input]:
        if not question.strip():
            raise InputError("--question: is empty")
        passage = read_text(path, layout.encoding)
        if not passage.strip():
            name = "standard input" if path == "-" else path
            raise InputError(f"{name}: the passage is empty")
        yield Input(Examples([question], None, [passage]))

    def given(self, example: Examples) -> dict[str, Any]:
        name = {"id": example.ids[0]} if example.ids else {}
        return {**name, "question": example.texts[0]}

    # === The answers in the outputs ===

    def _find(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples, n_best: int = 1
    ) -> list[Answers]:
        details: WindowedPassages = encoded.details
        return [
            find_answers(
                context,
                details.passages[details.passage_of[example]],
                details.windows[details.rows_of(example)],
                list(outputs[details.rows_of(example)]),
                max(n_best, _CANDIDATES),
                self.max_answer_length,
                self.has_impossible,
            )
            for example, context in enumerate(examples.pairs or [])
        ]

    def _threshold(self, found: Sequence[Answers], questions: Sequence[Question]) -> float | None:
        """The threshold for "no answer"; None where every question has one."""
        if not self.has_impossible or self.null_threshold is not None:
            return self.null_threshold
        if all(question.answers for question in questions):
            return 0.0
        best = {
            question.id: answers.best[0].text if answers.best else ""
            for question, answers in zip(questions, found, strict=True)
        }
        nulls = {
            question.id: answers.null_score
            for question, answers in zip(questions, found, strict=True)
        }
        return best_null_threshold(best, nulls, questions)


def _examples(questions: Sequence[Question]) -> Examples:
    return Examples(
        [question.question for question in questions],
        None
        if any(question.answers is None for question in questions)
        else [question.answers for question in questions],
        [question.context for question in questions],
        [question.id for question in questions],
    )


def _questions(examples: Examples) -> list[Question]:
    """The examples, named by their position."""
    columns = zip(examples.texts, examples.pairs or [], examples.labels or [], strict=True)
    return [Question(str(number), *columns) for number, columns in enumerate(columns)]


def _decided(answers: Answers, threshold: float | None) -> Candidate | None:
    """The best answer, or None for "no answer"."""
    if not answers.best or (threshold is not None and answers.null_score > threshold):
        return None
    return answers.best[0]


def _entry(candidate: Candidate) -> dict[str, Any]:
    return {
        "answer": candidate.text,
        "probability": candidate.probability,
        "start": candidate.start,
        "end": candidate.end,
    }


def _loss(outputs: Outputs, targets: Any) -> float:
    """The mean of `SpanLoss` over the rows."""
    assert isinstance(targets, RowTargets)
    total = 0.0
    for logits, positions in zip(outputs, targets.values, strict=True):
        logits = np.asarray(logits, np.float64)
        right = logits[positions, [0, 1]]
        total += float((np.logaddexp.reduce(logits, axis=0) - right).mean())
    return total / len(targets.values)

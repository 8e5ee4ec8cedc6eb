"""What a problem is: all that differs between one label a text, tags, answers in a passage, ...

A *task* (`known_tasks`) is known data with its defaults; a *problem* is what is asked of a text.
Commands call these methods and never ask which problem it is. A new problem is a class of its own
in one file; see `docs/tasks.md`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import Layout, is_unlabelled, read_table
from tfbert.tasks.inputs import Input, read_inputs
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.tokens.encoded import EncodedExamples
from tfbert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    import keras

# (examples, outputs) float32, also where a text is read in several rows: the mean of their logits.
# Of a head on tokens a (tokens, outputs) float32 array for each row.
Outputs: TypeAlias = np.ndarray | Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Problem(abc.ABC):
    """Base of the problems: frozen dataclasses whose fields are kept with the model, as JSON.

    Args:
        labels: Names of the head's outputs.
        main_metric: The metric, of those that `measure` returns, by which models are compared;
            higher is better.
        has_pairs: Whether an example is two texts.

    Attributes:
        name: What `--problem` calls it.
        head: Whether the model has one output a text (`pooled`, on [CLS]) or one a token.
        head_dropout: Rate of the dropout before a new head, in training.
        lists_labels: Whether the labels are the data's, and worth saying before the training.
    """

    name: ClassVar[str]
    lists_labels: ClassVar[bool] = True
    head: ClassVar[Literal["pooled", "tokens"]] = "pooled"
    head_dropout: ClassVar[float] = 0.1

    labels: list[str]
    main_metric: str
    has_pairs: bool = False

    @property
    def outputs(self) -> int:
        """Number of the head's outputs."""
        return len(self.labels)

    @property
    def calibrates(self) -> bool:
        """Whether `calibrated` does something."""
        return False

    # === Data ===

    @classmethod
    def read(cls, path: str | Path, layout: Layout, labelled: bool = True) -> Examples:
        """Reads a file.

        Args:
            labelled: Whether labels are read; without them `Examples.labels` is None.

        Raises:
            InputError: If the file is not in that form, or something in it is wrong: with the line.
        """
        return read_table(path, layout, cls.label_of, labelled)

    @classmethod
    def is_unlabelled(cls, path: str | Path, layout: Layout) -> bool:
        """Whether a file holds examples and not one label, as the test files of benchmarks do."""
        return is_unlabelled(path, layout)

    @classmethod
    def label_of(cls, value: Any, path: str | Path, place: str) -> Any:
        """The label in a cell of a table; None of an empty one.

        Args:
            value: A string, or in JSON any value.
            place: `line 7`, for messages.

        Raises:
            InputError: If it is no label of this problem.
        """
        raise NotImplementedError(f"{cls.__name__} has no label_of")

    @classmethod
    def named(cls, labels: list[Any], names: Mapping[str, str]) -> list[Any]:
        """The labels under the readable names that a task has for some of them."""
        return labels

    @classmethod  # noqa: B027
    def check(cls, train: Examples) -> None:
        """Raises InputError for training labels that look like a mistake; most need no check."""

    @classmethod
    @abc.abstractmethod
    def from_data(
        cls,
        train: Examples,
        evaluation: Examples,
        options: ProblemOptions,
        main_metric: str | None = None,
    ) -> Problem:
        """The problem that some data poses: which labels there are, for example.

        Args:
            main_metric: The task's; None takes the problem's own.

        Raises:
            InputError: If it cannot be learned from the examples.
        """

    @classmethod
    def strata(cls, examples: Examples) -> list[str] | None:
        """Groups of which evaluation examples are held out in equal shares; None: no groups."""
        return None

    def class_weights(self, requested: str | list[float], train: Examples) -> np.ndarray | None:
        """The weight of each output in the loss.

        Args:
            requested: `none`, `balanced`, or a number each: see `FinetuneConfig`.

        Returns:
            (outputs,) float32, or None where all weigh the same.

        Raises:
            InputError: If the problem has no such weights.
        """
        if requested != "none":
            raise InputError(f"--class-weights: there are no classes in {self.name}")
        return None

    @abc.abstractmethod
    def encode(
        self,
        tokenizer: BertTokenizer,
        examples: Examples,
        max_length: int,
        cache: str = "none",
        class_weights: np.ndarray | None = None,
    ) -> EncodedExamples:
        """The examples as rows of tokens with their targets.

        Args:
            max_length: Most tokens of a row, special ones included.
            cache: As in `token_cache.tokenize_once`.
            class_weights: What the method of that name returned; only for training.

        Raises:
            InputError: If an example has a label that training had not.
        """

    # === Training ===

    @abc.abstractmethod
    def make_loss(self) -> keras.losses.Loss:
        """The loss of the head's outputs, float32 logits, against the targets of `encode`."""

    def make_metrics(self) -> list[keras.metrics.Metric]:
        """Metrics to show while it trains, beside the loss."""
        return []

    # === Results ===

    @abc.abstractmethod
    def measure(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples
    ) -> dict[str, Any]:
        """Metrics, computed in float64.

        Returns:
            A dict with `loss`, `examples` (their number), that of `main_metric`, and more.
        """

    def calibrated(self, outputs: Outputs, encoded: EncodedExamples, examples: Examples) -> Problem:
        """The problem with what is chosen on the evaluation examples after training."""
        return self

    @abc.abstractmethod
    def answers(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples, n_best: int = 1
    ) -> list[dict[str, Any]]:
        """What the model says of each example: what `predict` prints beside the text.

        Args:
            n_best: How many answers to give of each, the best first, where there are several.
        """

    def remarks(self, outputs: Outputs, examples: Examples, metrics: dict[str, Any]) -> list[str]:
        """What a user should know of the results that `measure` returned, in sentences."""
        return []

    @classmethod
    def table(cls, metrics: dict[str, Any]) -> str:
        """The metrics as lines of text."""
        shown = {k: v for k, v in metrics.items() if isinstance(v, float) and k != "seconds"}
        values = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in shown.items())
        lines = [f"{metrics['examples']} examples: {values}"]
        return "\n".join(lines + per_class_lines(metrics.get("per_class", {})))

    # === Use ===

    def read_inputs(self, path: str, layout: Layout) -> Iterator[Input]:
        """What `predict` is to answer: a table's rows, or the lines of a file or standard input.

        Args:
            path: A file, or `-`.
            layout: Names and encoding; the form is that of the file's name.

        Raises:
            InputError: If it cannot be read.
        """
        return read_inputs(path, layout, self.has_pairs)

    def read_passage(self, question: str, path: str, layout: Layout) -> Iterator[Input]:
        """A question about the passage that a file, or standard input (`-`), is.

        Raises:
            InputError: If it cannot be read, or the problem is no such question.
        """
        raise InputError(f"--question: the model was trained for {self.name}, not for questions")

    def from_texts(self, texts: list[str], pairs: list[str] | None = None) -> Examples:
        """Examples of plain texts, as `predict_texts` takes them."""
        return Examples(texts, None, pairs)

    def given(self, example: Examples) -> dict[str, Any]:
        """What `predict` says of a single example beside the answer, where it is from no table."""
        pair = {"text_pair": example.pairs[0]} if example.pairs else {}
        return {"text": example.texts[0], **pair}

    def config(self) -> dict[str, Any]:
        """The problem for JSON; `known_problems.problem_from_config` makes it again."""
        return {"problem": self.name, **dataclasses.asdict(self)}


def per_class_lines(per_class: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table of precision, recall, F1 and examples by label; no lines where there are no labels.

    Args:
        per_class: By label the numbers of these names.
    """
    if not per_class:
        return []
    width = max(map(len, per_class))
    lines = [f"{'':{width}}  precision  recall      F1  examples"]
    for label, row in per_class.items():
        lines.append(
            f"{label:{width}}  {row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}  "
            f"{row['examples']:8d}"
        )
    return lines

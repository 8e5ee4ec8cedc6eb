"""Labelled data on disk: training and evaluation examples, and their labels as numbers."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfbert.errors import InputError
from tfbert.io.paths import as_path, exists
from tfbert.tasks.documents import read_document_archive, read_document_folders
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.labels import check_labels, label_key, one_spelling, spelled_like
from tfbert.tasks.tables import SUFFIXES, Examples, form_of, is_unlabelled, read_table

_log = logging.getLogger("tfbert")

_EVALUATION_NAMES = ("dev", "validation", "valid", "val", "test")
_POLARITIES = ("neg", "pos")  # names of the folders in collections of reviews


class LabelledData:
    """Labelled data of a task at a path.

    Args:
        task: A name in `TASKS`.
        path: Its file or folder; None is the data that ships with the package.
        text_column, label_column: Replace the task's.
        encoding: Text encoding of the files.
        separator: Of the columns of CSV files; None finds it.

    Raises:
        InputError: If there is nothing at the path.
    """

    def __init__(
        self,
        task: str,
        path: str | Path | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
        encoding: str = "utf-8",
        separator: str | None = None,
    ) -> None:
        self.task = TASKS[task]
        place = path or self.task.data
        if place is None:
            raise InputError(f"the task {task} needs data: give its path")
        self.path = as_path(place)
        self.text_column = text_column or self.task.text_column
        self.label_column = label_column or self.task.label_column
        self.encoding = encoding
        self.separator = separator
        if not exists(self.path):
            raise InputError(f"{self.path}: no such file or folder")

    def splits(
        self, evaluation_path: str | Path | None = None, fraction: float = 0.1, seed: int = 0
    ) -> tuple[Examples, Examples]:
        """Training and evaluation examples.

        The evaluation examples are those of `evaluation_path`, else the data's own evaluation
        split, else `fraction` of the training examples, drawn with `seed` in equal shares of the
        labels, at least one of each that has two. Its labels are spelled as in the training
        examples.

        Raises:
            InputError: If there are none, or the labels are no classes.
        """
        train = self._training()
        check_labels(train.labels)  # before some are held out: of scores, none could be
        evaluation = self._table(evaluation_path) if evaluation_path else self._own_evaluation()
        if evaluation is None:
            return _hold_out(train, fraction, seed, self.path)
        return train, Examples(evaluation.texts, spelled_like(evaluation.labels, train.labels))

    def evaluation(self, fraction: float = 0.1, seed: int = 0) -> Examples:
        """The evaluation examples of a folder or archive, or all examples of one table file."""
        if self.path.is_file() and self.path.suffix != ".zip":
            return self._table(self.path)
        evaluation = self._own_evaluation()
        return self.splits(fraction=fraction, seed=seed)[1] if evaluation is None else evaluation

    def _training(self) -> Examples:
        if self.path.suffix == ".zip" and self.task.folders:
            return self._named(read_document_archive(self.path, _POLARITIES, self.encoding))
        if self.path.is_file():
            return self._table(self.path)
        if self.task.folders:
            for folder in (self.path / "train", self.path, self.path / "movie_reviews"):
                if (folder / "neg").is_dir():
                    return self._folders(folder)
        train = self._find(("train",))
        if train is None:
            others = sorted(path.name for path in self.path.glob("train.*") if form_of(path))
            hint = f"; it holds {', '.join(others)}: give that file's --task" if others else ""
            raise InputError(f"{self.path}: holds no train.{self.task.form}{hint}")
        return self._table(train)

    def _own_evaluation(self) -> Examples | None:
        """The evaluation split that comes with the training examples, or None."""
        if self.path.is_file():
            return None
        if self.task.folders and (self.path / "test" / "neg").is_dir():
            return self._folders(self.path / "test")
        for name in _EVALUATION_NAMES:
            path = self._find((name,))
            if path is None:
                continue
            if not is_unlabelled(path, *self._form()):
                return self._table(path)
            _log.info("%s: has no labels, and is left out (`predict` takes it)", path)
        return None

    def _folders(self, folder: Path) -> Examples:
        return self._named(read_document_folders(folder, _POLARITIES, self.encoding))

    def _find(self, names: Sequence[str]) -> Path | None:
        for name in names:
            for suffix in SUFFIXES[self.task.form]:
                for packed in ("", ".gz"):
                    path = self.path / f"{name}{suffix}{packed}"
                    if path.exists():
                        return path
        return None

    def _table(self, path: str | Path) -> Examples:
        return self._named(read_table(path, *self._form()))

    def _form(self) -> tuple[str, str, str, str, str | None]:
        """What `read_table` takes after the path."""
        columns = (self.text_column, self.label_column)
        return self.task.form, *columns, self.encoding, self.separator

    def _named(self, examples: Examples) -> Examples:
        texts = examples.texts
        if self.task.names:
            # Reviews from web pages keep their line breaks as tags.
            texts = [text.replace("<br />", " ") for text in texts]
        labels = one_spelling(examples.labels)
        names = self.task.names
        return Examples(texts, [names.get(label_key(label), label) for label in labels])


def draw(examples: Examples, count: int, seed: int) -> Examples:
    """`count` of the examples, in their order; all of them where there are no more."""
    order = np.random.default_rng(seed).permutation(len(examples.texts))
    return _take(examples, np.sort(order[:count]))


def label_names(train: Examples, evaluation: Examples) -> list[str]:
    """The labels of the training examples in order: integers by value, else alphabetical.

    Raises:
        InputError: If there is only one, or the evaluation examples have one that training lacks.
    """
    names = set(train.labels)
    if len(names) < 2:
        raise InputError(
            f"all {len(train.labels)} training examples have the label {train.labels[0]!r}; "
            "a classifier needs at least two labels"
        )
    unseen = Counter(label for label in evaluation.labels if label not in names)
    if unseen:
        label, count = unseen.most_common(1)[0]
        raise InputError(
            f"the label {label!r} of {count} evaluation examples is not among the labels that the "
            f"model was trained on ({', '.join(sorted(names))})"
        )
    integers = all(re.fullmatch("-?[0-9]{1,18}", name) for name in names)
    # `1` and `01` are two labels: the name decides where the value does not.
    return sorted(names, key=lambda name: (int(name) if integers else 0, name))


def label_ids(examples: Examples, names: Sequence[str]) -> np.ndarray:
    """The labels as positions in `names`: (examples,) int32."""
    positions = {name: position for position, name in enumerate(names)}
    return np.array([positions[label] for label in examples.labels], np.int32)


def _hold_out(
    examples: Examples, fraction: float, seed: int, path: Path
) -> tuple[Examples, Examples]:
    """Splits off the same share of every label, at least one; its only example is for training."""
    random = np.random.default_rng(seed)
    labels = np.array(examples.labels)
    held_out = np.zeros(len(labels), bool)
    for label in sorted(set(examples.labels)):
        members = random.permutation(np.flatnonzero(labels == label))
        count = max(1, round(fraction * len(members)))
        held_out[members[: min(count, len(members) - 1)]] = True
    if not held_out.any():
        raise InputError(f"{path}: too few examples to hold some out; see --eval-data")
    return _take(examples, np.flatnonzero(~held_out)), _take(examples, np.flatnonzero(held_out))


def _take(examples: Examples, positions: np.ndarray) -> Examples:
    return Examples(*([column[position] for position in positions] for column in examples))

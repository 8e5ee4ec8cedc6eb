"""Labelled data on disk: training and evaluation examples."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tfbert.errors import InputError
from tfbert.io.paths import as_path, exists
from tfbert.tasks.detection import detect
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.documents import read_document_archive, read_document_folders
from tfbert.tasks.formats.places import place_of_label
from tfbert.tasks.formats.tables import SUFFIXES, form_of
from tfbert.tasks.glue.mrpc import listed_pairs
from tfbert.tasks.known_problems import problem_class
from tfbert.tasks.known_tasks import TASKS, layout_of
from tfbert.tasks.labels import UnknownLabelError

_log = logging.getLogger("tfbert")

_POLARITIES = ("neg", "pos")  # names of the folders in collections of reviews


class LabelledData:
    """Labelled data of a task at a path.

    Args:
        task: A name in `TASKS`.
        path: Its file or folder; None is the data that ships with the package.
        text_column, label_column, pair_column: Replace the task's.
        encoding: Text encoding of the files.
        separator: Of the columns of CSV files; None finds it.
        label_separator: Between several labels in a cell.
        problem: A name in `PROBLEMS`; None takes what the task or the data says.

    Attributes:
        task: The `Task`.
        path: Where the data is.
        problem: The class of the problem.

    Raises:
        InputError: If there is nothing at the path, or no such problem.
    """

    def __init__(
        self,
        task: str,
        path: str | Path | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
        encoding: str = "utf-8",
        separator: str | None = None,
        pair_column: str | None = None,
        label_separator: str | None = None,
        problem: str | None = None,
    ) -> None:
        self.task = TASKS[task]
        self._read: list[str | Path] = []
        place = path or self.task.data
        if place is None:
            raise InputError(f"the task {task} needs data: give its path")
        self.path = as_path(place)
        self.layout = layout_of(
            self.task,
            text_column=text_column,
            label_column=label_column,
            pair_column=pair_column,
            encoding=encoding,
            separator=separator,
            label_separator=label_separator,
        )
        if not exists(self.path):
            raise InputError(f"{self.path}: no such file or folder")
        name = problem or self.task.problem
        if self.task.own_columns and (looked_at := self._first_file()):
            found = detect(looked_at, self.layout, says_so=problem is None)
            if name in (None, found.problem):
                name, self.layout = found.problem, dataclasses.replace(self.layout, form=found.form)
        self.problem = problem_class(name or "classification")

    def splits(
        self, evaluation_path: str | Path | None = None, fraction: float = 0.1, seed: int = 0
    ) -> tuple[Examples, Examples]:
        """Training and evaluation examples.

        The evaluation examples are those of `evaluation_path`, else the data's own evaluation
        split, else `fraction` of the training examples, drawn with `seed`: of classes in equal
        shares, at least one of each that has two.

        Raises:
            InputError: If there are none, or the labels look like a mistake.
        """
        train = self._training()
        self.problem.check(train)  # before some are held out: of scores, none could be
        evaluation = self._table(evaluation_path) if evaluation_path else self._own_evaluation()
        if evaluation is None and (listed := self._list_of_pairs()):
            held_out = listed_pairs(str(self._first_file()), listed, self.layout)
            return train.take(np.flatnonzero(~held_out)), train.take(np.flatnonzero(held_out))
        if evaluation is None:
            return _hold_out(train, self.problem.strata(train), fraction, seed, self.path)
        return train, evaluation

    def evaluation(self, fraction: float = 0.1, seed: int = 0) -> Examples:
        """The evaluation examples of a folder or archive, or all examples of one table file."""
        if self.path.is_file() and self.path.suffix != ".zip":
            return self._table(self.path)
        evaluation = self._own_evaluation()
        return self.splits(fraction=fraction, seed=seed)[1] if evaluation is None else evaluation

    def further_evaluations(self) -> dict[str, Examples]:
        """Evaluation examples beside the first ones, by name, where the task has such files."""
        files = {name: self._find(files) for name, files in self.task.further_files.items()}
        return {name: self._table(path) for name, path in files.items() if path is not None}

    @contextlib.contextmanager
    def naming_places(self) -> Iterator[None]:
        """Within it, an error about a label that training had not says in which row it stands."""
        try:
            yield
        except UnknownLabelError as error:
            names = self.task.names.items()
            spellings = [error.label, *(cell for cell, name in names if name == error.label)]
            for path in reversed(self._read):  # those of evaluation are read last
                if place := place_of_label(path, self.layout, spellings):
                    raise InputError(f"{place}: {error}") from error
            raise

    def _training(self) -> Examples:
        if self.task.answered_by:
            raise InputError(
                f"{self.path}: nothing to train on: evaluate or predict with a model of --task "
                f"{self.task.answered_by}"
            )
        if self.path.suffix == ".zip" and self.task.folders:
            return self._named(read_document_archive(self.path, _POLARITIES, self.layout.encoding))
        if self.path.is_file():
            return self._table(self.path)
        if self.task.folders:
            for folder in (self.path / "train", self.path, self.path / "movie_reviews"):
                if (folder / "neg").is_dir():
                    return self._folders(folder)
        train = self._find(self.task.training_files)
        if train is None:
            others = sorted(path.name for path in self.path.glob("train.*") if form_of(path))
            hint = f"; it holds {', '.join(others)}: give that file's --task" if others else ""
            raise InputError(f"{self.path}: holds no train{SUFFIXES[self.task.form][0]}{hint}")
        return self._table(train)

    def _own_evaluation(self) -> Examples | None:
        """The evaluation split that comes with the training examples, or None."""
        if self.path.is_file() or self._list_of_pairs():
            return None
        if self.task.folders and (self.path / "test" / "neg").is_dir():
            return self._folders(self.path / "test")
        for name in self.task.evaluation_files:
            path = self._find((name,))
            if path is None:
                continue
            if not self.problem.is_unlabelled(path, self.layout):
                return self._table(path)
            _log.info("%s: has no labels, and is left out (`predict` takes it)", path)
        return None

    def _folders(self, folder: Path) -> Examples:
        return self._named(read_document_folders(folder, _POLARITIES, self.layout.encoding))

    def _list_of_pairs(self) -> Path | None:
        """The file that says which training examples to evaluate on, where there is one."""
        has_own = self._find(self.task.evaluation_files[:1])
        return None if has_own else self._find(self.task.listed_in)

    def _first_file(self) -> Path | None:
        """A file of the data, the training file if there is one."""
        if self.path.is_file():
            return self.path
        return self._find((*self.task.training_files, *self.task.evaluation_files))

    def _find(self, names: Sequence[str]) -> Path | None:
        if self.path.is_file():
            return None
        for name in names:
            for suffix in ("",) if Path(name).suffix else SUFFIXES[self.task.form]:
                for packed in ("", ".gz"):
                    paths = [self.path / f"{name}{suffix}{packed}"]
                    if "*" in name:
                        paths = sorted(self.path.glob(paths[0].name))
                    if len(paths) > 1:
                        raise InputError(
                            f"{self.path}: holds {' and '.join(path.name for path in paths)}: give "
                            "the files with --data and --eval-data"
                        )
                    if paths and paths[0].exists():
                        return paths[0]
        return None

    def _table(self, path: str | Path) -> Examples:
        self._read.append(path)
        return self._named(self.problem.read(path, self.layout))

    def _named(self, examples: Examples) -> Examples:
        texts = examples.texts
        if self.task.folders:
            # Reviews from web pages keep their line breaks as tags.
            texts = [text.replace("<br />", " ") for text in texts]
        labels = examples.labels and self.problem.named(examples.labels, self.task.names)
        return examples._replace(texts=texts, labels=labels)


def _hold_out(
    examples: Examples, strata: list[str] | None, fraction: float, seed: int, path: Path
) -> tuple[Examples, Examples]:
    """Splits off the same share of every group, at least one; its only example is for training."""
    random = np.random.default_rng(seed)
    groups = np.array(strata or [""] * len(examples.texts))
    held_out = np.zeros(len(groups), bool)
    for group in sorted(set(groups.tolist())):
        members = random.permutation(np.flatnonzero(groups == group))
        count = max(1, round(fraction * len(members)))
        held_out[members[: min(count, len(members) - 1)]] = True
    if not held_out.any():
        raise InputError(f"{path}: too few examples to hold some out; see --eval-data")
    return examples.take(np.flatnonzero(~held_out)), examples.take(np.flatnonzero(held_out))

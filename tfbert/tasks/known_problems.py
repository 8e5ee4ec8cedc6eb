"""The problems that there are, by name; `register_problem` adds one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfbert.errors import InputError
from tfbert.io.whole import read_json
from tfbert.options import suggestion
from tfbert.tasks.problem import Problem
from tfbert.tasks.problems.classification import Classification
from tfbert.tasks.problems.multilabel import Multilabel
from tfbert.tasks.problems.regression import Regression
from tfbert.tasks.problems.span import Span
from tfbert.tasks.problems.tagging import Tagging

PROBLEM_FILE = "problem.json"  # in the folder of a trained model
PROBLEMS: dict[str, type[Problem]] = {}


def register_problem(problem: type[Problem]) -> type[Problem]:
    """A decorator: `--problem`, and the folders of trained models, then know the class by its name.

    Raises:
        ValueError: If another class has that name.
    """
    known = PROBLEMS.setdefault(problem.name, problem)
    # A class that a notebook defines again replaces itself.
    if (known.__module__, known.__qualname__) != (problem.__module__, problem.__qualname__):
        raise ValueError(f"a problem {problem.name!r} is registered already: {known}")
    PROBLEMS[problem.name] = problem
    return problem


def problem_class(name: str) -> type[Problem]:
    """The problem of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in PROBLEMS:
        hint = suggestion(name, list(PROBLEMS), "", "; ")
        raise InputError(f"--problem {name}: known are {', '.join(PROBLEMS)}{hint}")
    return PROBLEMS[name]


def problem_from_config(config: Any, where: str) -> Problem:
    """The problem that `Problem.config` wrote.

    Args:
        where: The file that it was read from, for messages.

    Raises:
        InputError: If it is damaged, or of a problem that is not registered.
    """
    name = config.get("problem") if isinstance(config, dict) else None
    if name not in PROBLEMS:
        raise InputError(
            f"{where}: the problem is {name!r}; known are {', '.join(PROBLEMS)} (one of your own "
            "must be registered before: tfbert.register_problem)"
        )
    fields = {key: value for key, value in config.items() if key != "problem"}
    try:
        return PROBLEMS[name](**fields)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: damaged: {error}") from error


def read_problem(directory: Path) -> Problem | None:
    """The problem of a model's folder; None where no file says it.

    Raises:
        InputError: If the file is damaged, or the problem is not registered.
    """
    path = directory / PROBLEM_FILE
    return problem_from_config(read_json(path), str(path)) if path.exists() else None


for _problem in (Classification, Multilabel, Regression, Tagging, Span):
    register_problem(_problem)

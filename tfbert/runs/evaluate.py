"""`tfbert evaluate`: measures a trained model on labelled examples."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.errors import InputError
from tfbert.hardware.strategies import get_strategy
from tfbert.models.sources import resolve_source
from tfbert.runs.command_options import EvaluateConfig
from tfbert.runs.outputs.run_directory import read_run_config
from tfbert.runs.starting import require_backend
from tfbert.tasks.examples import Examples
from tfbert.tasks.known_problems import problem_class, read_problem
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.labels import unnamed
from tfbert.tasks.problem import Problem

if TYPE_CHECKING:
    from tfbert.models.trained_model import TrainedModel


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Metrics of a trained model.

    Args:
        config: An `EvaluateConfig`. What it leaves out is taken from the run's `config.yaml`.

    Returns:
        The dict of the problem's `measure`, and the name of the `problem`; of a task with further
        evaluations also, by name, a dict of each.

    Raises:
        InputError: If model or data cannot be read, or a label is not the model's.
    """
    require_backend(config.backend)
    model = resolve_source(config.model)
    data = _Data(config)
    problem = read_problem(Path(model))
    # Examples are read before TensorFlow starts, unless only the opened model says how they are to
    # be read, as one of another program.
    if problem:
        _check_kind(config, problem)
    found = data.examples(problem.name) if problem else None
    from tfbert.runs.scoring import evaluate_examples, open_model

    with get_strategy(config.strategy, config.replicas).scope():
        trained = open_model(model, config.precision)
    trained = _with_labels_of_task(trained, data.task)
    source, examples, further = found or data.examples(trained.problem.name)
    measure = functools.partial(
        evaluate_examples,
        trained,
        batch_size=config.batch_size,
        progress=config.progress,
        token_cache=config.token_cache,
        tells_cut=True,
    )
    with source.naming_places():
        metrics = measure(examples)
        for name, others in further.items():
            metrics[name] = measure(others)
    return metrics


def _with_labels_of_task(trained: TrainedModel, task: str) -> TrainedModel:
    """The model with a task's names of labels, where its own labels are only numbered."""
    names = TASKS[task].names
    numbers = sorted((key for key in names if key.isdigit()), key=int)
    if not unnamed(trained.problem.labels) or len(numbers) != trained.problem.outputs:
        return trained
    labels = [names[number] for number in numbers]
    return trained._replace(problem=dataclasses.replace(trained.problem, labels=labels))


def _check_kind(config: EvaluateConfig, problem: Problem) -> None:
    """Refuses options that name data of another kind than the model was trained for."""
    task = config.task
    if task and task != read_run_config(config.model).get("task"):
        asked = TASKS[task].problem
        # Tables are read by any problem's own rules, these forms by one alone.
        is_strict = TASKS[task].form in ("conll", "squad")
        if asked and is_strict and not isinstance(problem, problem_class(asked)):
            raise InputError(
                f"--task {task}: is data for {asked}, and model {config.model} was trained for "
                f"{problem.name}"
            )
    if config.text_pair_column is not None and not problem.has_pairs:
        raise InputError(f"--text-pair-column: model {config.model} was trained on single texts")


class _Data:
    """The data that the options name or, where they do not, that the run recorded."""

    def __init__(self, config: EvaluateConfig) -> None:
        run = read_run_config(config.model)
        if config.task and config.task != run.get("task"):
            run = {}  # what the run recorded is about other data
        task = config.task or run.get("task")
        if task is None:
            raise InputError(f"--model {config.model}: no run, so its task is unknown: give --task")
        self.task = task
        recorded = run.get("resolved", {})
        path = config.data or recorded.get("eval_data") or recorded.get("data")
        if path is None and TASKS[task].data is None:
            raise InputError(f"--data must be given for --task {task}")
        self._source = functools.partial(
            LabelledData,
            task,
            path,
            config.text_column or run.get("text_column"),
            config.label_column or run.get("label_column"),
            config.encoding or run.get("encoding", "utf-8"),
            config.separator or run.get("separator"),
            config.text_pair_column or run.get("text_pair_column"),
            config.label_separator or run.get("label_separator"),
        )
        self._split = {
            "fraction": run.get("eval_fraction", 0.1),
            "seed": run.get("split_seed", 0),
        }
        self._is_for_evaluation = bool(config.data or recorded.get("eval_data"))

    def examples(self, problem: str) -> tuple[LabelledData, Examples, dict[str, Examples]]:
        """The examples as a problem reads them, behind the data that they are of.

        And, by name, those of further evaluations.
        """
        source = self._source(problem)
        if self._is_for_evaluation:
            examples = source.evaluation(**self._split)
        else:
            examples = source.splits(**self._split)[1]
        return source, examples, source.further_evaluations()

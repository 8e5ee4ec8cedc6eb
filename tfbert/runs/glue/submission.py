"""`tfbert predict --glue-submission`: test files answered in the form of GLUE's leaderboard."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tfbert.errors import InputError
from tfbert.hardware.strategies import check_backend
from tfbert.io.paths import as_path, exists
from tfbert.io.whole import saving
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.outputs.run_directory import read_run_config
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import open_table
from tfbert.tasks.glue.benchmark import GLUE, GlueTaskName, files_to_answer
from tfbert.tasks.glue.submissions import prediction_in_file, write_predictions
from tfbert.tasks.known_problems import problem_class
from tfbert.tasks.known_tasks import TASKS, layout_of


def submit(config: PredictConfig, task: GlueTaskName | None = None) -> list[Path]:
    """Answers a task's test files, each in a file such as `CoLA.tsv`.

    Args:
        config: `input` is the task's folder or a test file, `glue_submission` the folder to write.
        task: The task; by default that of the run, or AX where the input is AX's.

    Returns:
        The files, in the benchmark's order.

    Raises:
        InputError: If the model is of no such task, or there is no test file.
    """
    check_backend()
    task = task or _task_of(config)
    files = files_to_answer(task, config.input)
    if not files:
        known = ", ".join(f"{name}.tsv" for names in GLUE[task].tests.values() for name in names)
        raise InputError(f"--input {config.input}: is, or holds, none of {known}")
    examples = {title: _read(path, task) for title, path in files.items()}
    from tfbert.runs.scoring import open_model, predict_examples

    trained = open_model(config.model, config.precision)
    folder = as_path(str(config.glue_submission))
    with saving(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    for title, given in examples.items():
        encoded = trained.problem.encode(trained.tokenizer, given, trained.max_length)
        bar = f"{title}.tsv" if config.progress else None
        outputs = predict_examples(trained, encoded, config.batch_size, bar)
        answers = trained.problem.answers(outputs, encoded, given)
        predictions = [prediction_in_file(task, answer) for answer in answers]
        path = folder / f"{title}.tsv"
        with saving(path):
            write_predictions(path, zip(given.ids or [], predictions, strict=True))
        written.append(path)
    return written


def _task_of(config: PredictConfig) -> GlueTaskName:
    task = read_run_config(config.model).get("task")
    path = as_path(config.input)
    is_ax = path.name in GLUE["ax"].folders or path.name.partition(".")[0] in ("AX", "diagnostic")
    if task == GLUE["ax"].model and is_ax:
        return "ax"
    if task not in GLUE:
        raise InputError(
            f"--glue-submission: --model {config.model} is no run of a GLUE task "
            f"({', '.join(GLUE)})"
        )
    return task


def _read(path: Path, task: GlueTaskName) -> Examples:
    """The texts of a test file with the index of each; without one, they are numbered from 0."""
    if not exists(path):
        raise InputError(f"{path}: no such file")
    layout = layout_of(TASKS[task])
    id_column = GLUE[task].id_column
    wanted: list[Any] = [layout.text_column]
    has_ids = id_column in next(open_table(path, layout, wanted).rows).cells
    layout = dataclasses.replace(layout, id_column=id_column if has_ids else None)
    examples = problem_class(str(TASKS[task].problem)).read(path, layout, labelled=False)
    return examples._replace(ids=examples.ids or list(map(str, range(len(examples.texts)))))

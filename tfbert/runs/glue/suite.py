"""`tfbert glue`: all tasks of the benchmark, one run after the other.

What is finished stays finished: every run has a directory of its own, `glue.json` is written anew
after each, and a call that finds finished runs of the same options goes on behind them.
"""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import Any

from tfbert.errors import InputError, TfbertError, first_line
from tfbert.io.paths import absolute, as_path, exists
from tfbert.io.whole import read_json, saving, write_json
from tfbert.models.sources import resolve_source
from tfbert.recovery.preemption import Preempted
from tfbert.runs.command_options import FinetuneConfig, PredictConfig
from tfbert.runs.glue.glue_options import GlueConfig
from tfbert.runs.glue.results import average, of_run, summary
from tfbert.runs.outputs.run_directory import RunDirectory
from tfbert.runs.tuning_data import TuningData, read_tuning_data
from tfbert.tasks.glue.benchmark import GLUE, GlueTaskName, files_to_answer

log = logging.getLogger("tfbert")

RESULTS_FILE = "glue.json"
SUBMISSION_FOLDER = "submission"


def glue(config: GlueConfig) -> dict[str, Any]:
    """Trains and measures the tasks of GLUE that are in a folder, with each of the seeds.

    A run that fails is reported, and the others go on.

    Returns:
        The content of `glue.json`: `data`, `model`, `options`; `tasks`, by name what
        `results.summary` returns, and `failed`, by seed the reason; `average` of the scores;
        `submission`, by file the run that answered, and `not_answered`, by task the reason.

    Raises:
        InputError: If the model cannot be found, the folder holds runs of other options, or
            several machines are to work together.
    """
    if "TF_CONFIG" in os.environ:
        raise InputError(
            "TF_CONFIG is set: `tfbert glue` trains on the devices of one machine; each of several "
            "machines takes other --tasks"
        )
    resolve_source(config.model)
    folders = config.folders()
    runs = {name: _runs(name, path, config) for name, path in folders.items()}
    for configs in runs.values():
        for run in configs:
            if changes := RunDirectory(run.output).other_options(run):
                raise InputError(
                    f"--output {config.output}: the run {run.output} has other options: "
                    f"{'; '.join(changes)}; choose another --output, or remove that run"
                )
    path = as_path(config.output) / RESULTS_FILE
    results = _begun(config, read_json(path) if exists(path) else {})
    for name, configs in runs.items():
        if configs:
            _run_task(name, configs, results, path)
    if config.submission:
        for name, folder in folders.items():
            if reason := _submit(name, folder, config, results):
                log.warning("%s is not answered: %s", GLUE[name].title, reason)
                results["not_answered"][name] = reason
            _write(results, path)
    elif unlabelled := [GLUE[name].title for name, configs in runs.items() if not configs]:
        log.info("%s: has no labels; --submission writes its predictions", ", ".join(unlabelled))
    return results


def _begun(config: GlueConfig, before: dict[str, Any]) -> dict[str, Any]:
    """What `glue.json` holds at first: of an earlier call with the same options, its results."""
    about = {"data": absolute(config.data), "model": config.model, "options": config.options}
    is_same = about.items() <= before.items()
    return {
        **about,
        "tasks": before["tasks"] if is_same else {},
        "average": None,
        "submission": before["submission"] if is_same else {},
        "not_answered": {},
    }


def failures(results: dict[str, Any]) -> list[str]:
    """What failed, a line each, of the content of `glue.json`."""
    return [
        f"{GLUE[name].title}, seed {seed}: {reason}"
        for name, task in results["tasks"].items()
        for seed, reason in task["failed"].items()
    ] + [
        f"{GLUE[name].title} is not answered: {reason}"
        for name, reason in results["not_answered"].items()
    ]


def _runs(task: GlueTaskName, folder: Path, config: GlueConfig) -> list[FinetuneConfig]:
    """The runs of a task; none of one that another's model answers."""
    return [] if GLUE[task].model else [config.run(task, folder, seed) for seed in config.seeds]


def _run_task(
    task: GlueTaskName, configs: list[FinetuneConfig], results: dict[str, Any], path: Path
) -> None:
    """Trains the runs of a task that are not finished, and writes the results after each."""
    runs: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    data: TuningData | None = None
    for config in configs:
        title = f"{GLUE[task].title}, seed {config.seed}"
        metrics = RunDirectory(config.output).finished_metrics()
        try:
            if metrics is None:
                log.info("%s: %s", title, config.output)
                data = data or read_tuning_data(config)
                metrics = _train(config, data)
            runs[str(config.seed)] = of_run(task, metrics)
        except Preempted:
            raise
        # Hours of other runs must not be lost to whatever goes wrong in one.
        except Exception as error:
            known = isinstance(error, TfbertError)
            log.error("%s failed: %s", title, error, exc_info=not known)
            reason = str(error) if known else f"{type(error).__name__}: {first_line(error)}"
            failed[str(config.seed)] = reason
        tasks = {**results["tasks"], task: {**summary(task, runs), "failed": failed}}
        results["tasks"] = {name: tasks[name] for name in GLUE if name in tasks}
        results["average"] = average(results["tasks"])
        _write(results, path)


def _write(results: dict[str, Any], path: Path) -> None:
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, results)


def _train(config: FinetuneConfig, data: TuningData) -> dict[str, Any]:
    from tfbert.runs.finetune import finetune

    metrics = finetune(config, data).metrics
    gc.collect()  # the model, before the next one is made
    return metrics


def _submit(
    task: GlueTaskName, folder: Path, config: GlueConfig, results: dict[str, Any]
) -> str | None:
    """Writes the leaderboard's files of a task by its best run, unless that has written them.

    Returns:
        Why it could not, if so.
    """
    answering = GLUE[task].model or task
    trained = results["tasks"].get(answering)
    files = files_to_answer(task, folder)
    if not files:
        log.info("%s: %s holds no test file to answer", GLUE[task].title, folder)
        return None
    if not trained or not trained["runs"]:
        return f"there is no finished run of {GLUE[answering].title}"
    main = trained["main_metric"]
    best = max(trained["runs"], key=lambda seed: trained["runs"][seed][main])
    run = str(as_path(config.output) / answering / f"seed-{best}")
    submission = as_path(config.output) / SUBMISSION_FOLDER
    written = results["submission"]
    if all(written.get(name) == run and exists(submission / f"{name}.tsv") for name in files):
        return None
    from tfbert.runs.glue.submission import submit

    progress = config.options.get("progress", True)
    options = {"model": run, "input": str(folder), "progress": progress}
    try:
        submit(PredictConfig(**options, glue_submission=str(submission)), task)
    except InputError as error:
        return str(error)
    written |= dict.fromkeys(files, run)
    return None

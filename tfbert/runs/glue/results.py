"""The numbers of a suite of runs: means, spread over seeds, the benchmark's score, a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfbert.tasks.glue.benchmark import GLUE, GlueTaskName

# Beside a task's own evaluation there may be another: of MNLI, on the other kinds of text.
OTHERS = {"mnli": ("mismatched",)}


def of_run(task: GlueTaskName, metrics: dict[str, Any]) -> dict[str, float]:
    """The benchmark's numbers of a run, the main one first.

    Args:
        metrics: The content of `metrics.json`.
    """
    names = GLUE[task].metrics
    found = {name: metrics[name] for name in names}
    for other in OTHERS.get(task, ()):
        if other in metrics:
            found |= {f"{other} {name}": metrics[other][name] for name in names}
    return found


def summary(task: GlueTaskName, runs: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means over the runs of a task.

    Args:
        runs: By seed, what `of_run` returns.

    Returns:
        A dict of `main_metric`; `metrics`, by name `mean` and `spread`, the standard deviation of
        the seeds (with n - 1; None of one seed); `score`, the mean of all of these means; `runs`.
    """
    names = next(iter(runs.values()), {})
    columns = {name: np.array([run[name] for run in runs.values()], np.float64) for name in names}
    metrics = {
        name: {
            "mean": float(values.mean()),
            "spread": float(values.std(ddof=1)) if len(values) > 1 else None,
        }
        for name, values in columns.items()
    }
    means = [float(values.mean()) for values in columns.values()]
    return {
        "main_metric": GLUE[task].metrics[0],
        "metrics": metrics,
        "score": sum(means) / len(means) if means else None,
        "runs": runs,
    }


def average(tasks: dict[str, dict[str, Any]]) -> float | None:
    """The benchmark's score: the mean of the tasks' scores; None where no task has one."""
    scores = [task["score"] for task in tasks.values() if task["score"] is not None]
    return sum(scores) / len(scores) if scores else None


def results_table(results: dict[str, Any]) -> str:
    """The content of `glue.json` as lines of text."""
    lines = [f"{'task':8}{'seeds':>5}  mean ± standard deviation over the seeds"]
    for name, task in results["tasks"].items():
        cells = [
            f"{metric} {values['mean']:.4f}"
            + ("" if values["spread"] is None else f" ± {values['spread']:.4f}")
            for metric, values in task["metrics"].items()
        ]
        for reason in dict.fromkeys(task["failed"].values()):
            seeds = [seed for seed, other in task["failed"].items() if other == reason]
            cells.append(f"failed with seed {', '.join(seeds)}: {reason}")
        lines.append(f"{GLUE[name].title:8}{len(task['runs']):5d}  {', '.join(cells)}")
    if results["average"] is not None:
        count = sum(task["score"] is not None for task in results["tasks"].values())
        lines.append(f"average of {count} task{'s' * (count > 1)}: {results['average']:.4f}")
    return "\n".join(lines)

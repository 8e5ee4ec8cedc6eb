"""GLUE's tasks: in which folders they lie, what is measured, and what the leaderboard takes.

References:
    Wang et al., "GLUE: A multi-task benchmark and analysis platform for natural language
    understanding", 2019, table 1 (metrics); https://gluebenchmark.com/faq (submissions).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from tfbert.io.paths import as_path, exists

GlueTaskName = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax"]


class GlueTask(NamedTuple):
    """A task of the benchmark.

    Args:
        title: What the benchmark calls it.
        folders: Names of the folder that its files are in.
        metrics: What the benchmark measures, the main one first: keys of `metrics.json`. Their
            mean is the task's part in the benchmark's score.
        tests: By the leaderboard's name of predictions, the names, without their suffix, that the
            file with the texts may have.
        model: The task whose model answers it; None: its own.
        id_column: The column of a test file that the leaderboard calls the index.
    """

    title: str
    folders: tuple[str, ...]
    metrics: tuple[str, ...]
    tests: dict[str, tuple[str, ...]]
    model: GlueTaskName | None = None
    id_column: str = "index"


GLUE: dict[GlueTaskName, GlueTask] = {
    "cola": GlueTask("CoLA", ("CoLA",), ("matthews",), {"CoLA": ("test",)}),
    "sst2": GlueTask("SST-2", ("SST-2",), ("accuracy",), {"SST-2": ("test",)}),
    "mrpc": GlueTask(
        "MRPC", ("MRPC",), ("f1", "accuracy"), {"MRPC": ("test", "msr_paraphrase_test")}
    ),
    "stsb": GlueTask("STS-B", ("STS-B",), ("pearson", "spearman"), {"STS-B": ("test",)}),
    "qqp": GlueTask("QQP", ("QQP",), ("f1", "accuracy"), {"QQP": ("test",)}, id_column="id"),
    "mnli": GlueTask(
        "MNLI",
        ("MNLI",),
        ("accuracy",),
        {"MNLI-m": ("test_matched",), "MNLI-mm": ("test_mismatched",)},
    ),
    "qnli": GlueTask("QNLI", ("QNLI",), ("accuracy",), {"QNLI": ("test",)}),
    "rte": GlueTask("RTE", ("RTE",), ("accuracy",), {"RTE": ("test",)}),
    "wnli": GlueTask("WNLI", ("WNLI",), ("accuracy",), {"WNLI": ("test",)}),
    "ax": GlueTask(
        "AX",
        ("AX", "diagnostic", "diagnostics"),
        ("matthews",),
        {"AX": ("AX", "diagnostic", "test")},
        "mnli",
    ),
}


def task_folders(data: str | Path) -> dict[GlueTaskName, Path]:
    """The tasks that are in a folder, in the benchmark's order, each with its own folder."""
    found = {}
    for name, task in GLUE.items():
        folder = _first(as_path(data), task.folders)
        if folder is not None:
            found[name] = folder
    return found


def files_to_answer(task: GlueTaskName, path: str | Path) -> dict[str, Path]:
    """By the leaderboard's name of the predictions, the files with the texts of a task.

    Args:
        path: The task's folder, or one of the files.
    """
    path, tests = as_path(path), GLUE[task].tests
    if path.is_dir():
        found = {title: _test_file(path, names) for title, names in tests.items()}
        return {title: file for title, file in found.items() if file is not None}
    stem = path.name.partition(".")[0]
    titles = [title for title, names in tests.items() if stem in names]
    # A file of any name, where the task has one file only.
    return dict.fromkeys(titles or (tests if len(tests) == 1 else ()), path)


def _test_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    return _first(folder, tuple(f"{name}{end}" for name in names for end in (".tsv", ".txt")))


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if exists(folder / name)), None)

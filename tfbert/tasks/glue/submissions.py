"""Predictions in the form of GLUE's leaderboard: a header, and a row `index TAB prediction` a text.

References:
    https://gluebenchmark.com/faq
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfbert.errors import InputError
from tfbert.io.whole import write_bytes
from tfbert.tasks.glue.benchmark import GLUE, GlueTaskName
from tfbert.tasks.known_tasks import TASKS

_ENTAILMENT = ("entailment", "not_entailment")
# As they are in the files, and as the leaderboard wants them.
GLUE_LABELS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("cola", "sst2", "mrpc", "qqp", "wnli"), ("0", "1")),
    "mnli": ("entailment", "neutral", "contradiction"),
    **dict.fromkeys(("qnli", "rte"), _ENTAILMENT),
}


def prediction_in_file(task: GlueTaskName, answer: dict[str, Any]) -> str:
    """An answer as the leaderboard spells it.

    Args:
        answer: What `predict` says of a text: its `label`, or in STS-B its `score`.

    Returns:
        The label of the task's files, such as `1` or `not_entailment`; of STS-B a number from 0 to
        5 with three decimals.

    Raises:
        InputError: If the label is none of the task's: the model is another's.
    """
    if "score" in answer:
        return f"{min(max(float(answer['score']), 0.0), 5.0):.3f}"
    label, labels = str(answer["label"]), GLUE_LABELS[GLUE[task].model or task]
    names = TASKS[task].names
    in_file = next((cell for cell, name in names.items() if name == label), label)
    if in_file not in labels:
        raise InputError(
            f"the model answers {label!r}, and {GLUE[task].title} has the labels "
            f"{', '.join(names.get(cell, cell) for cell in labels)}: is it a model of another task?"
        )
    return in_file


def write_predictions(path: str | Path, rows: Iterable[tuple[str, str]]) -> int:
    """Writes a file of predictions, whole or not at all.

    Args:
        path: `FOLDER/CoLA.tsv`, for example.
        rows: (index, prediction) of each text, in the order of the test file.

    Returns:
        The number of texts.

    Raises:
        InputError: If an index stands there twice.
    """
    lines, seen = ["index\tprediction\n"], set()
    for index, prediction in rows:
        if index in seen:
            raise InputError(f"{path}: two texts have the index {index}")
        seen.add(index)
        lines.append(f"{index}\t{prediction}\n")
    write_bytes(path, "".join(lines).encode())
    return len(seen)

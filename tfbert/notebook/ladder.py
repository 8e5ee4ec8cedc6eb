"""One change after another: what each brings in speed, and what it costs in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tfbert.runs.outputs.curves import epoch_speeds

if TYPE_CHECKING:
    from tfbert.runs.starting import RunResult


class Step(NamedTuple):
    """What came out of one fine-tuning of the ladder.

    Args:
        title: What was changed.
        speed: Examples a second in the fastest epoch, so that the time of tracing and compiling,
            mostly in the first, does not count.
        speed_up: `speed` by that of the first step.
        seconds: Of the whole call: reading, start, compilation, training, evaluation, saving.
        accuracy: On the evaluation examples.
    """

    title: str
    speed: float
    speed_up: float
    seconds: float
    accuracy: float


def ladder(results: dict[str, RunResult]) -> list[Step]:
    """The steps of a ladder, from the results by title; all are compared with the first."""
    speeds = {
        title: float(epoch_speeds(result.run_directory, result.metrics["epochs"]).max())
        for title, result in results.items()
    }
    first = next(iter(speeds.values()))
    return [
        Step(
            title,
            speeds[title],
            speeds[title] / first,
            result.metrics["seconds"],
            result.metrics["accuracy"],
        )
        for title, result in results.items()
    ]


def fastest(results: dict[str, RunResult]) -> str:
    """The title of the fastest step."""
    return max(ladder(results), key=lambda step: step.speed).title


def ladder_table(results: dict[str, RunResult]) -> str:
    """The steps as a table in Markdown."""
    lines = ["| | examples/s | times faster | seconds in all | accuracy |", "|---|---|---|---|---|"]
    lines += [
        f"| {step.title} | {step.speed:,.1f} | {step.speed_up:.2f} | {step.seconds:,.0f} | "
        f"{step.accuracy:.3f} |"
        for step in ladder(results)
    ]
    return "\n".join(lines)


def last_step(results: dict[str, RunResult]) -> str:
    """The last of the steps so far, in a line of text."""
    step = ladder(results)[-1]
    return (
        f"{step.title}: {step.speed:,.1f} examples/s, {step.speed_up:.2f} times the baseline; "
        f"accuracy {step.accuracy:.3f}; {step.seconds:,.0f} s in all"
    )

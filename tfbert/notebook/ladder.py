"""One change after another: what each brings in speed, and what it costs in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tfbert.runs.outputs.curves import epoch_speeds

if TYPE_CHECKING:
    from tfbert.runs.starting import RunResult

_NO_GAIN = 1.05  # a step that is faster by less is said to bring nothing: runs differ by as much


class Step(NamedTuple):
    """What came out of one fine-tuning of the ladder.

    Args:
        title: What was changed.
        speed: Examples a second in the fastest epoch, so that the time of tracing and compiling,
            mostly in the first, does not count.
        speed_up: `speed` by that of the first step.
        gain: `speed` by that of the fastest step before, from which this one goes on; of the first
            step 1.
        seconds: Of the whole call: reading, start, compilation, training, evaluation, saving.
        accuracy: On the evaluation examples.
        interval: (lowest, highest) of its 95 % confidence interval (Wilson's), as the evaluation
            examples are a sample. What another seed would change is not in it.
    """

    title: str
    speed: float
    speed_up: float
    gain: float
    seconds: float
    accuracy: float
    interval: tuple[float, float]

    @property
    def helps(self) -> bool:
        """Whether it is faster than the fastest step before; always true of the first."""
        return self.gain >= _NO_GAIN or self.gain == self.speed_up == 1


def ladder(results: dict[str, RunResult]) -> list[Step]:
    """The steps of a ladder, from the results by title; all are compared with the first."""
    steps: list[Step] = []
    for title, result in results.items():
        metrics = result.metrics
        speed = float(epoch_speeds(result.run_directory, metrics["epochs"]).max())
        steps.append(
            Step(
                title,
                speed,
                speed / (steps[0].speed if steps else speed),
                speed / max((step.speed for step in steps), default=speed),
                metrics["seconds"],
                metrics["accuracy"],
                accuracy_interval(metrics["accuracy"], metrics["examples"]),
            )
        )
    return steps


def accuracy_interval(accuracy: float, examples: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy that was measured on so many examples, Wilson's."""
    from scipy.stats import binomtest

    interval = binomtest(round(accuracy * examples), examples).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)


def fastest(results: dict[str, RunResult]) -> str:
    """The title of the fastest step."""
    return max(ladder(results), key=lambda step: step.speed).title


def ladder_table(results: dict[str, RunResult]) -> str:
    """The steps as a table in Markdown."""
    lines = [
        "| | examples/s | times the baseline | times the fastest before | seconds in all "
        "| accuracy (95 % interval) |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {step.title} | {step.speed:,.1f} | {step.speed_up:.2f} | {step.gain:.2f} | "
        f"{step.seconds:,.0f} | {_accuracy(step)} |"
        for step in ladder(results)
    ]
    return "\n".join(lines)


def findings(results: dict[str, RunResult]) -> str:
    """What the ladder shows, in a few sentences of Markdown that follow from its numbers."""
    first, *others = ladder(results)
    best = max([first, *others], key=lambda step: step.speed)
    sentences = [
        f"**{best.title}** is the fastest here: {best.speed_up:.1f} times the {first.title}."
    ]
    for step in others:
        if not step.helps:
            sentences.append(
                f"**{step.title}** does not help on this hardware: {step.gain:.2f} times the speed "
                "of what it was tried on."
            )
    apart = [step for step in others if not _overlap(step.interval, first.interval)]
    for step in apart:
        direction = "lower" if step.accuracy < first.accuracy else "higher"
        sentences.append(
            f"The accuracy of **{step.title}** is {direction} than the {first.title}'s, by more "
            "than the choice of the sentences explains."
        )
    if not apart:
        sentences.append(
            "The intervals of all accuracies overlap with that of the "
            f"{first.title}: {results[first.title].metrics['examples']:,} sentences cannot tell "
            "them apart."
        )
    return " ".join(sentences)


def last_step(results: dict[str, RunResult]) -> str:
    """The last of the steps so far, in a line of text."""
    step = ladder(results)[-1]
    return (
        f"{step.title}: {step.speed:,.1f} examples/s, {step.speed_up:.2f} times the baseline; "
        f"accuracy {_accuracy(step)}; {step.seconds:,.0f} s in all"
    )


def _accuracy(step):
    low, high = step.interval
    return f"{step.accuracy:.3f} ({low:.3f} to {high:.3f})"


def _overlap(one, other):
    return one[0] <= other[1] and other[0] <= one[1]

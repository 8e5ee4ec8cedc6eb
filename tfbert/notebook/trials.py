"""Pre-training runs that differ in optimizer, batch and rate only, and the best rate of each.

A fair comparison of optimizers lets each have its own best rate, and does not report the loss that
the rate was chosen by: the best of several is best by luck, too. Here rates are chosen on one part
of the held-out sequences, and compared on another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from tfbert.errors import InputError
from tfbert.hardware.input_pipeline import numbered_batches, specs_of
from tfbert.records.batches import examples_of
from tfbert.records.description import read_dataset
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_prepared

if TYPE_CHECKING:
    from tfbert.recipes.pretrain_options import PretrainConfig


OptimizerName: TypeAlias = Literal["lamb", "adamw"]
NAMES: dict[OptimizerName, str] = {"lamb": "LAMB", "adamw": "AdamW"}
_BATCH = 32  # held-out sequences of one loss


class Trial(NamedTuple):
    """One run.

    Args:
        optimizer: `lamb` or `adamw`.
        batch_size: Sequences an update.
        rate: The peak learning rate.
        updates: How many there were.
        loss: Of masked tokens, on the held-out sequences that rates are chosen by, in nats.
        seconds: Of the whole run.
        run: Its directory.
        model: The trained `BertPretrainer`.
    """

    optimizer: OptimizerName
    batch_size: int
    rate: float
    updates: int
    loss: float
    seconds: float
    run: str
    model: Any = None


def try_rates(
    config: PretrainConfig,
    rates: dict[OptimizerName, Sequence[float]],
    batch_sizes: Sequence[int],
) -> Iterator[Trial]:
    """Trains a model for every batch size, optimizer and rate, as many sequences each.

    Args:
        config: Of all runs; a run is written into a folder beside its `output`. Its phase has the
            batch that the rates are for: with another one the rate changes by the square root and
            the warm-up in proportion, as in the LAMB paper.
        rates: Peak learning rates by optimizer.
        batch_sizes: Sequences an update.

    Yields:
        A `Trial` after each run.
    """
    from tfbert.runs.pretrain import pretrain

    (phase,) = config.phases
    for batch_size in batch_sizes:
        for optimizer, choices in rates.items():
            for rate in choices:
                trial = dataclasses.replace(
                    config,
                    optimizer=optimizer,
                    phases=[dataclasses.replace(phase, learning_rate=rate)],
                    global_batch_size=batch_size,
                    output=f"{config.output}-{optimizer}-{batch_size}-{rate:g}",
                )
                result = pretrain(trial)
                (scaled,) = trial.scaled_phases()
                yield Trial(
                    optimizer,
                    batch_size,
                    scaled.learning_rate or rate,
                    result.metrics["updates"],
                    result.metrics.get("val_mlm_loss", result.metrics["val_loss"]),
                    result.metrics["seconds"],
                    result.run_directory,
                    result.model,
                )


def chosen(trials: Sequence[Trial]) -> dict[tuple[OptimizerName, int], Trial]:
    """The trial with the lowest loss of each optimizer and batch size."""
    best: dict[tuple[OptimizerName, int], Trial] = {}
    for trial in trials:
        key = (trial.optimizer, trial.batch_size)
        if key not in best or _order(trial) < _order(best[key]):
            best[key] = trial
    return best


def at_edge(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether a chosen rate is the lowest or highest tried, so that a better one may lie beyond."""
    rates = [t.rate for t in trials if t[:2] == trial[:2]]
    return trial.rate in (min(rates), max(rates))


def other_losses(trial: Trial, data: str, skip: int, sequences: int) -> np.ndarray:
    """The losses of a trial on held-out sequences that were not used to choose rates.

    Args:
        trial: With its model.
        data: The folder of records.
        skip: How many held-out sequences were used: `eval_sequences` of the runs.
        sequences: Most sequences to take after them.

    Returns:
        (batches,) float64, the mean loss of each batch of 32 sequences, in nats. The batches and
        their masks are the same for every trial.

    Raises:
        InputError: If there are not two batches of held-out sequences beyond `skip`.
    """
    length = trial.model.backbone.max_sequence_length
    source = open_prepared(data, read_dataset(data), "validation", length)
    records = PretrainingRecords(source, _BATCH, shuffle=False)
    first, last = -(-skip // _BATCH), min(skip + sequences, source.examples) // _BATCH
    if last - first < 2:
        raise InputError(
            f"{data}: {source.examples:,} held-out sequences, of which the first {skip:,} chose "
            "the rates; prepare more of them to compare on"
        )
    batches = [examples_of(records.batch(number)) for number in range(first, last)]
    losses = []
    for batch in batches:
        one = numbered_batches([batch].__getitem__, 0, 1, specs_of(batch))
        values = trial.model.evaluate(one, verbose=0, return_dict=True)
        losses.append(values.get("mlm_loss", values["loss"]))
    return np.array(losses, np.float64)


class Comparison(NamedTuple):
    """The best LAMB and the best AdamW of a batch size, on data that chose neither.

    Args:
        lamb, adamw: The chosen trials.
        lamb_loss, adamw_loss: Their mean losses, in nats.
        difference: LAMB's less AdamW's: below 0 LAMB is better.
        half: Half of the 95 % interval of the difference, by Student's t over the batches in
            pairs. It tells what other held-out text would change, not what other seeds would.
    """

    lamb: Trial
    adamw: Trial
    lamb_loss: float
    adamw_loss: float
    difference: float
    half: float


def compare(trials: Sequence[Trial], data: str, skip: int, sequences: int) -> list[Comparison]:
    """A `Comparison` for each batch size; the arguments are those of `other_losses`."""
    best = chosen(trials)
    comparisons = []
    for batch_size in sorted({trial.batch_size for trial in trials}):
        lamb, adamw = best["lamb", batch_size], best["adamw", batch_size]
        losses = [other_losses(trial, data, skip, sequences) for trial in (lamb, adamw)]
        comparisons.append(Comparison(lamb, adamw, *paired(*losses)))
    return comparisons


def paired(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float, float]:
    """Two means, their difference, and half of its 95 % interval.

    Args:
        one, other: (batches,) losses of two models on the same batches.
    """
    from scipy.stats import sem, t

    differences = one - other
    half = t.ppf(0.975, len(differences) - 1) * sem(differences)
    return float(one.mean()), float(other.mean()), float(differences.mean()), float(half)


def comparison_table(comparisons: Sequence[Comparison], trials: Sequence[Trial]) -> str:
    """The comparisons as a table in Markdown, and below it what they show."""
    lines = [
        "| batch | updates | LAMB: rate, loss | AdamW: rate, loss | LAMB less AdamW |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.lamb.batch_size:,} | {c.lamb.updates:,} | {c.lamb.rate:.2g}, {c.lamb_loss:.3f} | "
        f"{c.adamw.rate:.2g}, {c.adamw_loss:.3f} | {c.difference:+.3f} ± {c.half:.3f} |"
        for c in comparisons
    ]
    lines.append("")
    for c in comparisons:
        better, worse = ("LAMB", "AdamW") if c.difference < 0 else ("AdamW", "LAMB")
        lines.append(
            f"At a batch of {c.lamb.batch_size:,} "
            + (
                f"{better} is better than {worse} on this text."
                if abs(c.difference) > c.half
                else "the two cannot be told apart."
            )
        )
        names = [NAMES[t.optimizer] for t in (c.lamb, c.adamw) if at_edge(t, trials)]
        if names:
            lines[-1] += (
                f" The best rate of {' and of '.join(names)} is the lowest or highest that was "
                "tried: a better one may lie beyond."
            )
    return "\n".join(lines)


def _order(trial):
    return trial.loss if math.isfinite(trial.loss) else math.inf

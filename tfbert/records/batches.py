"""Batches of training records by epoch and step, as `BertPretrainer.fit` takes them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tfbert.errors import InputError
from tfbert.hardware.input_pipeline import Batches, numbered_batches, specs_of
from tfbert.records.masking import original_ids
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import RecordSource

_INPUTS = ("token_ids", "segment_ids", "padding_mask")

# Inputs, targets and sample weights, each a dictionary of arrays or tensors.
Batch: TypeAlias = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def examples_of(batch: dict[str, Any], teacher_share: float = 0.0) -> Batch:
    """A batch of `PretrainingRecords` as inputs, targets and sample weights.

    Inputs have KerasHub's names and `mask_positions`; targets and weights those of the outputs,
    `mlm`, and for pairs `nsp`.

    Args:
        teacher_share: Share that the distance from a teacher has of the loss, from 0 to 1. If it
            has one, there are the `original_ids`, before masking, and targets and weights of the
            distances; if it has all of it, the `token_ids` are the original ones, and there are no
            inputs and targets of the heads.

    Raises:
        InputError: If the records have no masks, and there is something to predict.
    """
    inputs = {name: batch[name] for name in _INPUTS}
    targets, weights = {}, {}
    if teacher_share < 1:
        if "mask_positions" not in batch:
            raise InputError(
                "the records have no masks: prepare them with --masking dynamic or fixed"
            )
        inputs["mask_positions"] = batch["mask_positions"]
        targets["mlm"], weights["mlm"] = batch["mask_ids"], batch["mask_weights"]
        if "next_sentence_labels" in batch:
            targets["nsp"] = batch["next_sentence_labels"]
            # Every pair counts 1.
            weights["nsp"] = np.ones(targets["nsp"].shape, np.float32)
    if teacher_share > 0:
        inputs["original_ids" if teacher_share < 1 else "token_ids"] = original_ids(batch)
        real = batch["padding_mask"].astype(np.float32)
        # The model computes the distances itself: of the targets, only the shape counts.
        targets["teacher_tokens"] = weights["teacher_tokens"] = real
        ones = np.ones((len(real), 1), np.float32)
        targets["teacher_sentences"] = weights["teacher_sentences"] = ones
    return inputs, targets, weights


class PretrainingBatches:
    """Batches of training records: a batch source (`BatchSource` in `tfbert.fit`).

    An epoch here is the `steps_per_epoch` updates between two evaluations; the last one may be
    shorter. The records are read on from one to the next, and again from the start after the end.

    Args:
        steps_per_epoch: Updates from one evaluation to the next.
        steps: Updates of all epochs together.
        first_batch: Number of the records' batch that comes first.
        teacher_share: As in `examples_of`.
    """

    def __init__(
        self,
        records: PretrainingRecords,
        steps_per_epoch: int,
        steps: int,
        first_batch: int = 0,
        teacher_share: float = 0.0,
    ) -> None:
        self.records = records
        self.steps_per_epoch = min(steps_per_epoch, steps)
        self.steps = steps
        self.first_batch = first_batch
        self.teacher_share = teacher_share

    @property
    def epochs(self) -> int:
        """How many epochs there are."""
        return -(-self.steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Updates of an epoch."""
        return min(self.steps_per_epoch, self.steps - epoch * self.steps_per_epoch)

    def dataset(self, epoch: int, step: int) -> Batches:
        """All batches (`examples_of`) from that step of that epoch on, without end."""
        first = self.first_batch + epoch * self.steps_per_epoch + step
        records = self.records

        def make(number: int) -> Batch:
            return examples_of(records.batch(number), self.teacher_share)

        return numbered_batches(make, first, None, specs_of(make(first)))


def has_held_out(dataset: dict[str, Any], length: int) -> bool:
    """Whether there are validation examples of that length, by `read_dataset`'s description."""
    return any(
        shard["examples"]
        for shard in dataset["shards"]
        if (shard["split"], shard["length"]) == ("validation", length)
    )


def held_out_dataset(
    source: RecordSource, batch_size: int, sequences: int, teacher_share: float = 0.0
) -> Batches:
    """One pass over held-out records, with the same masks each time.

    Args:
        source: Of the split `validation`.
        batch_size: Sequences a batch.
        sequences: Most sequences to take. All batches are full ones, unless there are too few
            sequences for one.
        teacher_share: As in `examples_of`.

    Returns:
        `numbered_batches` of what `examples_of` returns.
    """
    available = min(sequences, source.examples)
    batch_size = min(batch_size, available)
    records = PretrainingRecords(source, batch_size, shuffle=False)
    numbers = range(available // batch_size)
    batches = [examples_of(records.batch(number), teacher_share) for number in numbers]
    return numbered_batches(batches.__getitem__, 0, len(batches), specs_of(batches[0]))

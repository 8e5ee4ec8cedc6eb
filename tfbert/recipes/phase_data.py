"""The training records of every phase of a recipe."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from tfbert.errors import InputError
from tfbert.hardware.input_pipeline import Batches
from tfbert.recipes.batch_size import accumulate_steps_of
from tfbert.recipes.phases import Phase, batch_orders
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.batches import has_held_out, held_out_dataset
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import RecordSource, open_prepared


class PhaseData(NamedTuple):
    """The records of one phase.

    Args:
        first_batch: Number of the batch of `train` with which the phase begins.
        held_out: One pass over the held-out records; None where none are held out.
        predictions: Masked positions a sequence; 0 where a teacher is all that is learned from.
        accumulate_steps: Micro-batches that a device's share of a batch is computed in.
    """

    train: PretrainingRecords
    first_batch: int
    held_out: Batches | None
    predictions: int
    accumulate_steps: int


def open_phases(
    config: PretrainConfig, dataset: dict[str, Any], phases: list[Phase], replicas: int
) -> list[PhaseData]:
    """Finds the training records of all phases, and reads the held-out ones.

    Args:
        dataset: What `read_dataset` returns for the folder `config.data`.
        phases: The phases as they are trained, see `PretrainConfig.scaled_phases`.

    Raises:
        InputError: If there are no records for a phase, they hold no masks, or its batch cannot be
            divided.
    """
    opened = []
    for (order, first_batch), phase in zip(batch_orders(phases), phases, strict=True):
        length = phase.sequence_length
        source = _open(config, dataset, "train", phase)
        if not source.predictions and config.loss_share_of_teacher < 1:
            raise InputError(
                f"{config.data}: its records hold no masks; prepare the text with --masking dynamic"
            )
        # Another order and other masks at each length, also where the text is the same.
        seed = config.seed + order * 2**32
        train = PretrainingRecords(source, phase.global_batch_size, seed)
        steps = accumulate_steps_of(phase, replicas, config.device_tokens)
        held_out = None
        if has_held_out(dataset, length):
            held_out = held_out_dataset(
                _open(config, dataset, "validation", phase),
                phase.global_batch_size // steps,
                config.eval_sequences,
                config.loss_share_of_teacher,
            )
        predictions = source.predictions if config.loss_share_of_teacher < 1 else 0
        opened.append(PhaseData(train, first_batch, held_out, predictions, steps))
    return opened


def _open(
    config: PretrainConfig, dataset: dict[str, Any], split: str, phase: Phase
) -> RecordSource:
    predicts = config.loss_share_of_teacher < 1
    predictions = phase.predictions if predicts else None
    source = open_prepared(config.data, dataset, split, phase.sequence_length, predictions)
    # No masks are drawn where nothing is predicted.
    return source if predicts else dataclasses.replace(source, masker=None)

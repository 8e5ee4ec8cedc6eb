"""The training records of every phase of a recipe."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.hardware.input_pipeline import Batches
from tfbert.recipes.batch_size import accumulate_steps_of
from tfbert.recipes.phases import Phase, batch_orders
from tfbert.recipes.pretrain_options import DOCUMENT_DIM, PretrainConfig
from tfbert.records.batches import has_held_out, held_out_dataset
from tfbert.records.masking import Masker
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import RecordSource, open_prepared, open_records
from tfbert.text.counting.document_vectors import DocumentVectors, make_document_vectors
from tfbert.text.counting.documents import count_texts
from tfbert.text.counting.frequencies import count_pieces, rarity

log = logging.getLogger("tfbert")

_MOST_SEQUENCES = 200_000  # their counts fit into memory; more would hardly change them
_SEQUENCES_TO_LOOK_AT = 1_000
_MOST_FILES = 64  # from all over the text, to count how frequent words are


class PhaseData(NamedTuple):
    """The records of one phase.

    Args:
        first_batch: Number of the batch of `train` with which the phase begins.
        held_out: One pass over the held-out records; None where none are held out.
        predictions: Masked positions a sequence; 0 where none are predicted.
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
    rare: dict[int, np.ndarray] = {}  # weights of word pieces, by the length of the sequences
    documents: DocumentVectors | None = None
    for (order, first_batch), phase in zip(batch_orders(phases), phases, strict=True):
        length = phase.sequence_length
        source = _open(config, dataset, "train", phase)
        if config.shares.predicts and not source.predictions:
            raise InputError(
                f"{config.data}: its records hold no masks; prepare the text with --masking dynamic"
            )
        steps = accumulate_steps_of(phase, replicas, config.device_tokens)
        if config.mask_rare_words:
            masker = _masker_of(source, config)
            if length not in rare:
                rare[length] = _weights_of_rare_words(source, masker)
            masker.weights = rare[length]
        if config.shares.documents:
            documents = documents or _document_vectors(config, dataset, source)
            source = dataclasses.replace(source, documents=documents)
            _require_documents(source)
        # Another order and other masks at each length, also where the text is the same.
        seed = config.seed + order * 2**32
        train = PretrainingRecords(source, phase.global_batch_size, seed)
        held_out = None
        if has_held_out(dataset, length):
            # With the usual masks, so that losses of different runs can be compared.
            validation = _open(config, dataset, "validation", phase)
            held_out = held_out_dataset(
                dataclasses.replace(validation, documents=documents),
                phase.global_batch_size // steps,
                config.eval_sequences,
                config.shares,
            )
        predictions = source.predictions if config.shares.predicts else 0
        opened.append(PhaseData(train, first_batch, held_out, predictions, steps))
    return opened


def longest_sequences(config: PretrainConfig, lengths: list[int]) -> Iterator[np.ndarray]:
    """Token ids of the records that hold most of a document, (sequences, length) arrays.

    Of more than `_MOST_SEQUENCES` a part, evenly spaced.
    """
    source = open_records(config.data, max(lengths), vocabulary=config.vocab)
    every = -(-source.examples // _MOST_SEQUENCES)
    for token_ids in PretrainingRecords(source, 1).sequences():
        yield token_ids[::every]


def _document_vectors(
    config: PretrainConfig, dataset: dict[str, Any], source: RecordSource
) -> DocumentVectors:
    options, vocabulary = dataset["options"], source.vocabulary
    # Only of its own files `tfbert` knows the order of the text.
    if "foreign" in dataset or options["sequences"] != "filled" or vocabulary is None:
        raise InputError(
            f"--document-share: the records of {config.data} are not text in a row; prepare it "
            "with `tfbert prepare --sequences filled`"
        )
    log.info("counting which word pieces occur in the same texts")
    sequences = longest_sequences(config, options["lengths"])
    texts = count_texts(sequences, vocabulary.is_special(), vocabulary.sep)
    return make_document_vectors(texts, DOCUMENT_DIM, vocabulary.sep, config.seed)


def _require_documents(source: RecordSource) -> None:
    """Says how many sequences have the vector of a document, and refuses records where none has."""
    some = min(source.examples, _SEQUENCES_TO_LOOK_AT)
    share = PretrainingRecords(source, some).batch(0)["document_weights"].mean()
    if not share:
        raise InputError(
            f"--document-share: each sequence of {source.length} tokens holds the border of two "
            "documents; prepare shorter ones with --lengths"
        )
    log.info("%.0f %% of the sequences are a part of one document", 100 * share)


def _masker_of(source: RecordSource, config: PretrainConfig) -> Masker:
    if source.masker is None:
        raise InputError(
            f"--mask-rare-words: the masks in the records of {config.data} are fixed; prepare the "
            "text with --masking dynamic"
        )
    return source.masker


def _weights_of_rare_words(source: RecordSource, masker: Masker) -> np.ndarray:
    every = -(-len(source.shards) // _MOST_FILES)
    part = dataclasses.replace(source, shards=source.shards[::every])
    sequences = PretrainingRecords(part, 1).sequences()
    return rarity(count_pieces(sequences, masker.vocabulary.is_special()))


def _open(
    config: PretrainConfig, dataset: dict[str, Any], split: str, phase: Phase
) -> RecordSource:
    predicts = config.shares.predicts
    predictions = phase.predictions if predicts else None
    source = open_prepared(config.data, dataset, split, phase.sequence_length, predictions)
    # No masks are drawn where nothing is predicted.
    return source if predicts else dataclasses.replace(source, masker=None)

"""The model of every phase of a recipe: made for the first one, grown and compiled for the others.

`pretrain` trains it; `tpu-check` compiles it without records.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np

from tfbert.errors import InputError
from tfbert.fit.compilation import make_optimizer
from tfbert.hardware.precision import POLICIES
from tfbert.models.distillation.distilled import DistilledPretrainer
from tfbert.models.distillation.teacher import load_teacher
from tfbert.models.growth import grow, grow_optimizer
from tfbert.models.layers.attention_choice import choose_attention, use_attention
from tfbert.models.pretrainer import BertPretrainer, load_pretrainer, make_pretrainer
from tfbert.models.sources import load_encoder
from tfbert.optimizers.loss_scale import innermost
from tfbert.recipes.phase_data import PhaseData
from tfbert.recipes.phases import Phase, learning_rate_schedule, with_layers
from tfbert.recipes.pretrain_options import NEW_DROPOUT, PretrainConfig
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_records
from tfbert.text.counting.embeddings import (
    LENGTH_OF_FROZEN,
    LENGTH_OF_TRAINED,
    start_token_embeddings,
)
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary

log = logging.getLogger("tfbert")

_COUNTED = {"cooccurrence": "near each other", "documents": "in the same texts"}
_MOST_SEQUENCES = 200_000  # their counts fit into memory; more would hardly change them


def make_first_model(
    config: PretrainConfig,
    options: dict[str, Any],
    records: PretrainingRecords,
    precision: str,
    phases: list[Phase],
) -> tuple[BertPretrainer, BertTokenizer, list[Phase]]:
    """The model with which a pre-training begins, ready to train.

    Args:
        options: Those with which the records were prepared.
        records: Of the first phase.
        precision: A key of `POLICIES`.
        phases: As they are trained.

    Returns:
        (model, new or from `--init`; its tokenizer; the phases with their `layers`).

    Raises:
        InputError: If the model of `--init` or `--teacher` does not fit records or phases.
    """
    if config.init:
        model, tokenizer = _load_model(config.init, config, options, records, precision)
        phases = with_layers(phases, model.backbone.num_layers, is_new=False)
    else:
        phases = with_layers(phases, config.bert_size.num_layers)
        model, tokenizer = make_new_model(config, options, records, precision, phases[0].num_layers)
    if config.teacher:
        longest = max(phase.sequence_length for phase in phases)
        teacher = load_teacher(config.teacher, POLICIES[precision], tokenizer, longest)
        if config.loss_share_of_teacher == 1:
            _refuse_to_train_nothing(model.backbone.hidden_dim == teacher.size.hidden_dim, phases)
        model = DistilledPretrainer(model, teacher, config.loss_share_of_teacher)
    _prepare_to_train(model, config, phases)
    return model, tokenizer, phases


def make_new_model(
    config: PretrainConfig,
    options: dict[str, Any],
    records: PretrainingRecords,
    precision: str,
    num_layers: int,
) -> tuple[BertPretrainer, BertTokenizer]:
    """A new `BertPretrainer` of so many layers, before its first update, and its tokenizer.

    The arguments are those of `make_first_model`.
    """
    vocabulary = _vocabulary_of(records)
    next_sentence = _predicts_next_sentences(config, options)
    model = _untrained(config, num_layers, len(vocabulary), next_sentence, precision)
    if config.embeddings != "random":
        log.info("counting which word pieces occur %s", _COUNTED[config.embeddings])
        sequences = records.sequences
        if config.embeddings == "documents":
            sequences = partial(_longest_sequences, config, options["lengths"])
        length = LENGTH_OF_FROZEN if config.phases[0].freeze_layers else LENGTH_OF_TRAINED
        start_token_embeddings(model, config.embeddings, sequences, vocabulary, config.seed, length)
    return model, BertTokenizer(vocabulary, options["lowercase"])


def begin_phase(
    model: BertPretrainer,
    config: PretrainConfig,
    phases: list[Phase],
    number: int,
    accumulate_steps: int,
) -> BertPretrainer:
    """Makes the model of an earlier phase, or a new one, that of this phase.

    Args:
        phases: As they are trained, with their `layers`.
        number: Which of them begins, from 0.
        accumulate_steps: As in `compile`.

    Returns:
        The model, a deeper one if it grows.
    """
    phase = phases[number]
    if phase.num_layers > model.backbone.num_layers:
        model = _grown(model, config, phases, number)
    optimizer: Any = model.optimizer
    # Updates that float16 skipped count, or the schedule would lag behind the phases.
    innermost(optimizer).iterations.assign(sum(earlier.steps for earlier in phases[:number]))
    model.freeze_lower_layers(phase.freeze_layers, phase.frozen_dropout)
    # Loss scaling, if there is any, continues through the phases.
    _compile(model, optimizer, config, accumulate_steps)
    return model


def make_phase_model(
    config: PretrainConfig,
    number: int,
    vocabulary_size: int,
    next_sentence: bool,
    accumulate_steps: int,
) -> BertPretrainer:
    """The model of a phase as `pretrain` compiles it, new and without records: for `tpu-check`.

    Its optimizer is built. `number` is the phase's, from 0; the rest as in `make_pretrainer` and
    `compile`.
    """
    phases = with_layers(config.scaled_phases(), config.bert_size.num_layers)
    phase = phases[number]
    precision = "bfloat16" if config.precision == "auto" else config.precision
    model = _untrained(config, phase.num_layers, vocabulary_size, next_sentence, precision)
    # `auto` is measured where the run begins: here there is no device.
    requested = "plain" if config.attention == "auto" else config.attention
    devices = model.distribute_strategy
    form = choose_attention(requested, model.backbone, devices, 1, phase.sequence_length)
    use_attention(model.backbone, form)
    _prepare_to_train(model, config, phases)
    model.freeze_lower_layers(phase.freeze_layers, phase.frozen_dropout)
    _compile(model, model.optimizer, config, accumulate_steps)
    return model


def choose_forms(
    model: BertPretrainer,
    config: PretrainConfig,
    phases: list[Phase],
    data: list[PhaseData],
    earlier: list[str | None],
) -> list[str]:
    """The form of attention of each phase, see `choose_attention`.

    Args:
        model: Of the first phase.
        phases: As they are trained.
        earlier: Those with which the run began; None where there are none.

    Raises:
        InputError: If `--attention fused` is not possible.
    """
    devices = model.distribute_strategy
    return [
        choose_attention(
            config.attention,
            model.backbone,
            devices,
            phase.global_batch_size // devices.num_replicas_in_sync // of_phase.accumulate_steps,
            phase.sequence_length,
            form,
        )
        for phase, of_phase, form in zip(phases, data, earlier, strict=True)
    ]


def _load_model(
    init: str,
    config: PretrainConfig,
    options: dict[str, Any],
    records: PretrainingRecords,
    precision: str,
) -> tuple[BertPretrainer, BertTokenizer]:
    """The model of `--init` and its tokenizer."""
    changes: dict[str, Any] = {
        "dtype": POLICIES[precision],
        "rematerialize": config.rematerialize,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
    }
    if config.loss_share_of_teacher == 1:  # without heads
        encoder = load_encoder(init, **changes)
        model, tokenizer = BertPretrainer(encoder.backbone, False), encoder.tokenizer
    else:
        next_sentence = _predicts_next_sentences(config, options)
        model, tokenizer = load_pretrainer(init, next_sentence=next_sentence, **changes)
    if tokenizer.vocabulary.pieces != _vocabulary_of(records).pieces:
        raise InputError(
            f"--init {init}: has another vocabulary than the records of {config.data}; "
            "prepare the text with the model's"
        )
    if tokenizer.lowercase != options["lowercase"]:
        log.warning(
            "--init %s: %s, and the records of %s were prepared with --lowercase %s",
            init,
            "lower-cases texts" if tokenizer.lowercase else "knows capital letters",
            config.data,
            str(options["lowercase"]).lower(),
        )
    longest = max(phase.sequence_length for phase in config.phases)
    if longest > model.backbone.max_sequence_length:
        raise InputError(
            f"--init {init}: ends at {model.backbone.max_sequence_length} tokens, and a "
            f"phase has {longest}"
        )
    return model, tokenizer


def _refuse_to_train_nothing(is_as_wide: bool, phases: list[Phase]) -> None:
    """Without heads, and without a map to the teacher's width, there are the layers alone."""
    for number, phase in enumerate(phases):
        if is_as_wide and phase.freeze_layers == phase.num_layers:
            raise InputError(
                f"--phases.{number}.freeze-layers is {phase.freeze_layers}: these are all layers, "
                "and nothing else learns from a teacher that is as wide; give a --teacher-share "
                "below 1, or freeze fewer"
            )


def _longest_sequences(config: PretrainConfig, lengths: list[int]) -> Iterator[np.ndarray]:
    """Token ids of the records that hold most of a document, (sequences, length) arrays.

    Of more than `_MOST_SEQUENCES` a part, evenly spaced.
    """
    source = open_records(config.data, max(lengths), vocabulary=config.vocab)
    every = -(-source.examples // _MOST_SEQUENCES)
    for token_ids in PretrainingRecords(source, 1).sequences():
        yield token_ids[::every]


def _predicts_next_sentences(config: PretrainConfig, options: dict[str, Any]) -> bool:
    return options["sequences"] == "pairs" and config.loss_share_of_teacher < 1


def _vocabulary_of(records: PretrainingRecords) -> Vocabulary:
    vocabulary = records.source.vocabulary
    if vocabulary is None:
        raise ValueError("only records of `tfbert prepare` have a vocabulary of their own")
    return vocabulary


def _untrained(
    config: PretrainConfig,
    num_layers: int,
    vocabulary_size: int,
    next_sentence: bool,
    precision: str,
) -> BertPretrainer:
    return make_pretrainer(
        dataclasses.replace(config.bert_size, num_layers=num_layers),
        vocabulary_size,
        next_sentence,
        NEW_DROPOUT if config.dropout is None else config.dropout,
        config.max_sequence_length,
        POLICIES[precision],
        config.rematerialize,
        config.attention_dropout,
    )


def _prepare_to_train(model: BertPretrainer, config: PretrainConfig, phases: list[Phase]) -> None:
    """Gives the model its optimizer, with the state of all phases; in the strategy's scope."""
    _compile(model, _make_optimizer(config, phases, model), config, 1)
    # Now, while no layer is frozen: an optimizer knows only the variables that it was built with.
    model.optimizer.build(model.trainable_variables)


def _grown(
    model: BertPretrainer, config: PretrainConfig, phases: list[Phase], number: int
) -> BertPretrainer:
    """The model with the layers of a phase, and its optimizer."""
    phase = phases[number]
    # New weights are the same ones wherever a run was interrupted before.
    keras.utils.set_random_seed((config.seed + number) % 2**32)
    with model.distribute_strategy.scope():
        deeper = grow(model, phase.num_layers, phase.growth)
        _compile(deeper, _make_optimizer(config, phases, deeper), config, 1)
    grow_optimizer(model, deeper, phase.growth, phase.growth_slots)
    return deeper


def _make_optimizer(
    config: PretrainConfig, phases: list[Phase], model: BertPretrainer
) -> keras.optimizers.Optimizer:
    options = {} if config.optimizer == "adamw" else {"record_statistics": True}
    return make_optimizer(
        config.optimizer,
        model,
        learning_rate_schedule(phases),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm or None,
        **options,
    )


def _compile(
    model: BertPretrainer,
    optimizer: keras.optimizers.Optimizer,
    config: PretrainConfig,
    accumulate_steps: int,
) -> None:
    model.compile(
        optimizer=optimizer,
        loss=model.pretraining_losses(),
        loss_weights=model.loss_weights(),
        weighted_metrics=model.pretraining_metrics(),
        accumulate_steps=accumulate_steps,
        steps_per_execution=config.steps_per_execution,
        seed=config.seed,
    )

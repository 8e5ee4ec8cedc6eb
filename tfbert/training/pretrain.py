"""Pre-training: from records and a recipe to a run with a preset in it."""

import dataclasses
import logging
import os
import tempfile
import time
from typing import Any, NamedTuple

import keras
import numpy as np

from tfbert.data.dataset import read_dataset
from tfbert.data.pretraining_batches import (
    PretrainingBatches,
    has_held_out,
    held_out_dataset,
    open_phase,
)
from tfbert.data.reader import PretrainingRecords
from tfbert.errors import InputError, TfbertError
from tfbert.files import replacing
from tfbert.models.pretrainer import load_pretrainer, make_pretrainer, save_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.optimizers.lamb import LAMB
from tfbert.tokenizer import make_tokenizer
from tfbert.training.distribution import get_strategy, is_chief
from tfbert.training.failures import explaining_exhausted_memory
from tfbert.training.flops import matmul_peak, training_flops
from tfbert.training.phases import accumulate_steps, learning_rate_schedule
from tfbert.training.precision import POLICIES, choose_precision
from tfbert.training.pretrain_callbacks import PretrainingCurves
from tfbert.training.run_directory import RunDirectory, saving, size_in_bytes

log = logging.getLogger("tfbert")


class PretrainResult(NamedTuple):
    """What `pretrain` returns.

    Args:
        model: The trained `BertPretrainer`.
        history: By metric, its value after each evaluation.
        metrics: The content of `metrics.json`.
        run_directory: Path of the run directory.
    """

    model: Any
    history: dict
    metrics: dict
    run_directory: str


class _PhaseData(NamedTuple):
    """Records of one phase; `held_out` is None where none are held out."""

    train: Any
    held_out: Any
    predictions: int
    accumulate_steps: int


def pretrain(config):
    """Trains masked-token and next-sentence prediction phase by phase (Devlin et al. 2019).

    Args:
        config: A `PretrainConfig`.

    Returns:
        A `PretrainResult`; the run directory holds `config.yaml`, `metrics.json`, `logs/` and
        `model/`, a KerasHub preset that `tfbert finetune --model` takes.

    Raises:
        InputError: If an option, the records or the model is wrong.
        MachineError: If memory or disk is exhausted.
    """
    if "TF_CONFIG" in os.environ:
        strategy = get_strategy(config.strategy, config.replicas)
        if not is_chief(strategy):
            # The other workers do the same work, and write where nobody looks.
            with tempfile.TemporaryDirectory() as scratch:
                silent = dataclasses.replace(config, progress=False)
                return _pretrain(silent, strategy, RunDirectory(scratch))
    run = RunDirectory(config.output)
    run.check_free(config.overwrite)
    return _pretrain(config, get_strategy(config.strategy, config.replicas), run)


def _pretrain(config, strategy, run):
    began = time.perf_counter()
    records = read_dataset(config.data)["options"]
    keras.utils.set_random_seed(config.seed)
    precision = choose_precision(config.precision)
    phases = config.scaled_phases()
    data = [
        _open(config, number, phase, strategy.num_replicas_in_sync)
        for number, phase in enumerate(phases)
    ]
    with strategy.scope():
        model, tokenizer = _make_model(config, records, data[0].train, precision)
        optimizer = _make_optimizer(config, phases, model)
    flops = _sequence_flops(model, phases, data)
    resolved = {
        "precision": precision,
        "replicas": strategy.num_replicas_in_sync,
        "phases": [
            {
                **dataclasses.asdict(phase),
                "predictions": part.predictions,
                "accumulate_steps": part.accumulate_steps,
            }
            for phase, part in zip(phases, data, strict=True)
        ],
    }
    with run.writing(config, command="pretrain", resolved=resolved):
        peak = matmul_peak(model.mlm_head.compute_dtype)
        _announce(model, phases, data, flops)
        curves = PretrainingCurves(run.logs, phases, flops, peak, config.progress)
        history = _train(model, optimizer, config, phases, data, curves)
        size = size_in_bytes(model.variables)
        with saving(run.model, size), replacing(run.model) as temporary:
            save_pretrainer(model, tokenizer, temporary)
        metrics = {name: values[-1] for name, values in history.items()}
        metrics["updates"] = sum(phase.steps for phase in phases)
        metrics["sequences"] = sum(phase.steps * phase.global_batch_size for phase in phases)
        metrics["seconds"] = time.perf_counter() - began
        run.write_metrics(metrics)
    return PretrainResult(model, history, metrics, str(run.path))


def _open(config, number, phase, replicas):
    """The `_PhaseData` of a phase."""
    length = phase.sequence_length
    source = open_phase(config.data, "train", length, phase.predictions)
    # Another order and other masks in each phase, also where the text is the same.
    seed = config.seed + number * 2**32
    train = PretrainingRecords(source, phase.global_batch_size, seed)
    pieces = accumulate_steps(phase, replicas, config.device_tokens)
    held_out = None
    if has_held_out(config.data, length):
        held_out = held_out_dataset(
            open_phase(config.data, "validation", length, phase.predictions),
            phase.global_batch_size // pieces,
            config.eval_sequences,
        )
    predictions = train.batch(0)["mask_positions"].shape[1]
    return _PhaseData(train, held_out, predictions, pieces)


def _make_model(config, options, records, precision):
    """A `BertPretrainer`, new or from `--init`, and the tokenizer of the records."""
    vocabulary = list(records.source.vocabulary.pieces)
    next_sentence = options["sequences"] == "pairs"
    if not config.init:
        tokenizer = make_tokenizer(vocabulary, options["lowercase"])
        model = make_pretrainer(
            config.bert_size,
            len(vocabulary),
            next_sentence,
            config.dropout,
            config.max_sequence_length,
            POLICIES[precision],
            config.rematerialize,
        )
        return model, tokenizer
    model, tokenizer = load_pretrainer(
        config.init, POLICIES[precision], next_sentence, config.rematerialize
    )
    if tokenizer.get_vocabulary() != vocabulary:
        raise InputError(
            f"--init {config.init}: has another vocabulary than the records of {config.data}; "
            "prepare the text with the model's"
        )
    longest = max(phase.sequence_length for phase in config.phases)
    if longest > model.backbone.max_sequence_length:
        raise InputError(
            f"--init {config.init}: ends at {model.backbone.max_sequence_length} tokens, and a "
            f"phase has {longest}"
        )
    return model, tokenizer


def _make_optimizer(config, phases, model):
    schedule = learning_rate_schedule(phases)
    norm = config.max_grad_norm or None
    if config.optimizer == "lamb":
        return LAMB(
            schedule,
            weight_decay=config.weight_decay,
            max_grad_norm=norm,
            record_statistics=True,
        )
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=config.weight_decay, epsilon=1e-6, global_clipnorm=norm
    )
    # By variable, not by name: Keras compares names of TensorFlow's that differ from its own.
    optimizer.exclude_from_weight_decay(
        var_list=[v for v in model.variables if v.path.endswith(("gamma", "beta", "bias"))]
    )
    return optimizer


def _train(model, optimizer, config, phases, data, curves):
    """Trains all phases; returns by metric its values at the evaluations."""
    _compile(model, optimizer, config, 1)
    # Now, while no layer is frozen: an optimizer knows only the variables that it was built with.
    model.optimizer.build(model.trainable_variables)
    history = {}
    for number, (phase, part) in enumerate(zip(phases, data, strict=True)):
        model.freeze_lower_layers(phase.freeze_layers)
        # Loss scaling, where there is any, goes on through the phases.
        _compile(model, model.optimizer, config, part.accumulate_steps)
        replicas = model.distribute_strategy.num_replicas_in_sync
        micro_batch = phase.global_batch_size // replicas // part.accumulate_steps
        option = f"--phases.{number}.per-device-batch-size"
        with explaining_exhausted_memory(
            micro_batch, phase.sequence_length, " or a smaller model", option
        ):
            for name, values in _fit(model, config, phase, part, curves).items():
                history.setdefault(name, []).extend(values)
    return history


def _compile(model, optimizer, config, pieces):
    model.compile(
        optimizer=optimizer,
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
        accumulate_steps=pieces,
        steps_per_execution=config.steps_per_execution,
        seed=config.seed,
    )


def _fit(model, config, phase, part, curves):
    """One phase, as epochs of `eval_steps` updates and one of what is left."""
    whole, rest = divmod(phase.steps, config.eval_steps)
    history = {}
    for epochs, steps, first in (
        (whole, config.eval_steps, 0),
        (1 if rest else 0, rest, whole * config.eval_steps),
    ):
        if not epochs:
            continue
        done = model.fit(
            PretrainingBatches(part.train, steps, first),
            epochs=epochs,
            validation_data=part.held_out,
            callbacks=[keras.callbacks.TerminateOnNaN(), curves],
            verbose=0,
        ).history
        if not np.isfinite(done["loss"]).all():
            raise TfbertError(
                f"training diverged before update {int(model.optimizer.iterations)}: the loss is "
                "no finite number; try a lower learning rate or --precision float32"
            )
        for name, values in done.items():
            history.setdefault(name, []).extend(values)
    return history


def _sequence_flops(model, phases, data):
    """For each phase, operations of an update for one sequence."""
    backbone = model.backbone
    size = BertSize(
        backbone.num_layers, backbone.hidden_dim, backbone.num_heads, backbone.intermediate_dim
    )
    return [
        training_flops(
            size,
            backbone.vocabulary_size,
            phase.sequence_length,
            part.predictions,
            model.next_sentence,
        )
        for phase, part in zip(phases, data, strict=True)
    ]


def _announce(model, phases, data, flops):
    backbone = model.backbone
    log.info(
        "model: %d layers, %d wide, %d word pieces, %s parameters",
        backbone.num_layers,
        backbone.hidden_dim,
        backbone.vocabulary_size,
        f"{model.count_params():,}",
    )
    for number, (phase, part, sequence_flops) in enumerate(
        zip(phases, data, flops, strict=True), start=1
    ):
        sequences = phase.steps * phase.global_batch_size
        log.info(
            "phase %d: %s updates of %s sequences of %d tokens%s; %.2g times over the records; "
            "%.1e operations",
            number,
            f"{phase.steps:,}",
            f"{phase.global_batch_size:,}",
            phase.sequence_length,
            f", in {part.accumulate_steps} parts" if part.accumulate_steps > 1 else "",
            sequences / part.train.examples,
            sequences * sequence_flops,
        )


def make_phase_model(config, number, vocabulary_size, next_sentence, pieces):
    """The model of a phase as `pretrain` compiles it, new and without records: for `tpu-check`.

    Args:
        config: `PretrainConfig`.
        number: Which of its phases, from 0.
        vocabulary_size: Word pieces.
        next_sentence: As in `BertPretrainer`.
        pieces: Micro-batches that a device's share of the batch is computed in.

    Returns:
        A `BertPretrainer` whose optimizer is built.
    """
    phases = config.scaled_phases()
    phase = phases[number]
    # Phases of a growing model say how many layers it has.
    layers = getattr(phase, "layers", None) or config.bert_size.num_layers
    precision = "bfloat16" if config.precision == "auto" else config.precision
    model = make_pretrainer(
        dataclasses.replace(config.bert_size, num_layers=layers),
        vocabulary_size,
        next_sentence,
        config.dropout,
        config.max_sequence_length,
        POLICIES[precision],
        config.rematerialize,
    )
    _compile(model, _make_optimizer(config, phases, model), config, 1)
    model.optimizer.build(model.trainable_variables)
    model.freeze_lower_layers(phase.freeze_layers)
    _compile(model, model.optimizer, config, pieces)
    return model

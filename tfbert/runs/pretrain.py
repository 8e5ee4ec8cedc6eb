"""Pre-training: from records and a recipe to a run with a preset in it."""

import dataclasses
import hashlib
import json
import logging
import time
from typing import Any, NamedTuple

import keras

from tfbert.errors import InputError
from tfbert.hardware.memory import explaining_exhausted_memory
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.hardware.strategies import sum_over_workers
from tfbert.io.whole import replacing, saving
from tfbert.models.growth import grow, grow_optimizer
from tfbert.models.pretrainer import load_pretrainer, make_pretrainer, save_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.optimizers.choice import make_optimizer
from tfbert.recipes.cost import CostModel
from tfbert.recipes.flops import matmul_peak_of
from tfbert.recipes.phases import (
    accumulate_steps,
    batch_orders,
    learning_rate_schedule,
    with_layers,
)
from tfbert.recipes.plan import plan_lines
from tfbert.records.batches import (
    PretrainingBatches,
    has_held_out,
    held_out_dataset,
    open_phase,
)
from tfbert.records.description import read_dataset
from tfbert.records.reader import PretrainingRecords
from tfbert.recovery.phase_checkpoints import phase_to_resume, recovery_of_phase
from tfbert.runs.pretrain_callbacks import EvaluationHistory, PretrainingCurves
from tfbert.runs.run_directory import RunDirectory, size_in_bytes
from tfbert.runs.starting import start
from tfbert.text.cooccurrence import start_token_embeddings
from tfbert.text.tokenizer import make_tokenizer

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
    """Records of one phase, from `first_batch` on; `held_out` is None where none are held out."""

    train: Any
    first_batch: int
    held_out: Any
    predictions: int
    accumulate_steps: int


def pretrain(config):
    """Trains masked-token and next-sentence prediction phase by phase (Devlin et al. 2019).

    Args:
        config: A `PretrainConfig`.

    Returns:
        A `PretrainResult`; the run directory holds `config.yaml`, `metrics.json`, `logs/`,
        `checkpoints/` and `model/`, a KerasHub preset that `tfbert finetune --model` takes.

    Raises:
        InputError: If an option, the records or the model is wrong.
        MachineError: If memory or disk is exhausted.
    """
    return start(_pretrain, config)


def _pretrain(config, strategy, run, resumes):
    began = time.perf_counter()
    dataset = read_dataset(config.data)
    keras.utils.set_random_seed(config.seed)
    precision = choose_precision(config.precision)
    phases = config.scaled_phases()
    data = [
        _open(config, *order, phase, strategy.num_replicas_in_sync)
        for order, phase in zip(batch_orders(phases), phases, strict=True)
    ]
    # The chief's, from which all workers go on: only it knows whether the run resumes.
    checkpoints = RunDirectory(config.output).checkpoints
    first = phase_to_resume(checkpoints, len(phases)) if resumes else 0
    first = sum_over_workers(strategy, first)
    with strategy.scope():
        model, tokenizer, phases = _make_model(
            config, dataset["options"], data[0].train, precision, phases
        )
        _prepare_to_train(model, config, phases)
    costs = _cost_model(config, model, phases)
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
    fingerprint = {"records": _digest(dataset), "precision": precision}
    with run.writing(config, resumes, command="pretrain", resolved=resolved) as status:
        peak = matmul_peak_of(strategy, model.mlm_head.compute_dtype)
        for line in plan_lines(costs, phases, data, peak):
            log.info(line)
        flops = [
            costs.update(phase, part.predictions).products
            for phase, part in zip(phases, data, strict=True)
        ]
        curves = PretrainingCurves(run.logs, phases, flops, status, peak, config.progress)
        history = EvaluationHistory()
        steps = [phase.steps for phase in phases]
        for number in range(first, len(phases)):
            model = _begin_phase(model, config, phases, number, data[number])
            curves.begin_phase(number)
            recovery = recovery_of_phase(config, checkpoints, number, steps, fingerprint)
            _fit(model, config, number, phases[number], data[number], [curves, history], recovery)
        curves.close()
        size = size_in_bytes(model.variables)
        with saving(run.model, size), replacing(run.model) as temporary:
            save_pretrainer(model, tokenizer, temporary)
        metrics = {name: values[-1] for name, values in history.history.items()}
        metrics["updates"] = sum(phase.steps for phase in phases)
        metrics["sequences"] = sum(phase.steps * phase.global_batch_size for phase in phases)
        metrics["seconds"] = time.perf_counter() - began
        run.write_metrics(metrics)
    return PretrainResult(model, history.history, metrics, str(run.path))


def _open(config, order, first_batch, phase, replicas):
    """The `_PhaseData` of a phase; `order` and `first_batch` as `batch_orders` gives them."""
    length = phase.sequence_length
    source = open_phase(config.data, "train", length, phase.predictions)
    # Another order and other masks at each length, also where the text is the same.
    seed = config.seed + order * 2**32
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
    return _PhaseData(train, first_batch, held_out, predictions, pieces)


def _make_model(config, options, records, precision, phases):
    """A `BertPretrainer`, new or from `--init`, the tokenizer, and the phases with their layers."""
    vocabulary = list(records.source.vocabulary.pieces)
    next_sentence = options["sequences"] == "pairs"
    if not config.init:
        phases = with_layers(phases, config.bert_size.num_layers)
        model, tokenizer = _new_model(config, options, records, precision, phases[0].layers)
        return model, tokenizer, phases
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
    return model, tokenizer, with_layers(phases, model.backbone.num_layers, is_new=False)


def _new_model(config, options, records, precision, num_layers):
    """A new `BertPretrainer` of so many layers, before its first update, and the tokenizer."""
    vocabulary = records.source.vocabulary
    model = make_pretrainer(
        dataclasses.replace(config.bert_size, num_layers=num_layers),
        len(vocabulary),
        options["sequences"] == "pairs",
        config.dropout,
        config.max_sequence_length,
        POLICIES[precision],
        config.rematerialize,
    )
    if config.embeddings == "cooccurrence":
        log.info("counting which word pieces stand near each other")
        start_token_embeddings(model, records.sequences(), vocabulary.is_special(), config.seed)
    return model, make_tokenizer(list(vocabulary.pieces), options["lowercase"])


def save_untrained(config, directory):
    """Saves the model that `pretrain` begins with: what training is to be compared with.

    Args:
        config: `PretrainConfig` without `init`.
        directory: Where to write the preset; what is there is not replaced.
    """
    keras.utils.set_random_seed(config.seed)
    source = open_phase(config.data, "train", config.phases[0].sequence_length)
    options = read_dataset(config.data)["options"]
    records = PretrainingRecords(source, config.phases[0].global_batch_size)
    model, tokenizer = _new_model(config, options, records, "float32", config.bert_size.num_layers)
    with replacing(directory) as temporary:
        save_pretrainer(model, tokenizer, temporary)


def _make_optimizer(config, phases, model):
    schedule = learning_rate_schedule(phases)
    options = {} if config.optimizer == "adamw" else {"record_statistics": True}
    return make_optimizer(
        config.optimizer,
        model,
        schedule,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm or None,
        **options,
    )


def _digest(dataset):
    """Tells the records from other records."""
    content = [dataset["options"], dataset["vocabulary"]]
    content += [(shard["length"], shard["sha256"]) for shard in dataset["shards"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _prepare_to_train(model, config, phases):
    """Gives the model its optimizer, with the state of all phases; in the strategy's scope."""
    _compile(model, _make_optimizer(config, phases, model), config, 1)
    # Now, while no layer is frozen: an optimizer knows only the variables that it was built with.
    model.optimizer.build(model.trainable_variables)


def _begin_phase(model, config, phases, number, part):
    """Makes the model of an earlier phase, or a new one, that of this phase; returns it."""
    phase = phases[number]
    if phase.layers > model.backbone.num_layers:
        model = _grown(model, config, phases, number)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    # Updates that float16 skipped count, or the schedule would lag behind the phases.
    inner.iterations.assign(sum(earlier.steps for earlier in phases[:number]))
    model.freeze_lower_layers(phase.freeze_layers, phase.frozen_dropout)
    # Loss scaling, where there is any, goes on through the phases.
    _compile(model, model.optimizer, config, part.accumulate_steps)
    return model


def _grown(model, config, phases, number):
    """The model with the layers of a phase, and its optimizer."""
    phase = phases[number]
    # New weights are the same ones wherever a run was interrupted before.
    keras.utils.set_random_seed((config.seed + number) % 2**32)
    with model.distribute_strategy.scope():
        deeper = grow(model, phase.layers, phase.growth)
        _compile(deeper, _make_optimizer(config, phases, deeper), config, 1)
    grow_optimizer(model, deeper, phase.growth, phase.growth_slots)
    return deeper


def _compile(model, optimizer, config, pieces):
    model.compile(
        optimizer=optimizer,
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
        accumulate_steps=pieces,
        steps_per_execution=config.steps_per_execution,
        seed=config.seed,
    )


def _fit(model, config, number, phase, part, callbacks, recovery):
    """Trains a phase from its beginning or, where it has checkpoints, from the newest one on."""
    batches = PretrainingBatches(part.train, config.eval_steps, phase.steps, part.first_batch)
    replicas = model.distribute_strategy.num_replicas_in_sync
    micro_batch = phase.global_batch_size // replicas // part.accumulate_steps
    if config.staging != "none":  # of the recipe's phases, which the stages divide
        order, _ = batch_orders(config.scaled_phases())[number]
        number = [order for order, _ in batch_orders(config.phases)].index(order)
    option = f"--phases.{number}.per-device-batch-size"
    with explaining_exhausted_memory(
        micro_batch, phase.sequence_length, " or a smaller model", option
    ):
        model.fit(
            batches,
            epochs=batches.epochs,
            validation_data=part.held_out,
            callbacks=callbacks,
            verbose=0,
            recovery=recovery,
        )


def _cost_model(config, model, phases):
    backbone = model.backbone
    size = BertSize(
        phases[-1].layers, backbone.hidden_dim, backbone.num_heads, backbone.intermediate_dim
    )
    return CostModel.of(model, size, config.optimizer)


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
    phases = with_layers(config.scaled_phases(), config.bert_size.num_layers)
    phase = phases[number]
    precision = "bfloat16" if config.precision == "auto" else config.precision
    model = make_pretrainer(
        dataclasses.replace(config.bert_size, num_layers=phase.layers),
        vocabulary_size,
        next_sentence,
        config.dropout,
        config.max_sequence_length,
        POLICIES[precision],
        config.rematerialize,
    )
    _prepare_to_train(model, config, phases)
    model.freeze_lower_layers(phase.freeze_layers, phase.frozen_dropout)
    _compile(model, model.optimizer, config, pieces)
    return model

"""`tfbert pretrain`: from records and a recipe to a run with a preset in it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import keras

from tfbert.hardware.memory import out_of_memory_advice
from tfbert.hardware.peaks import strategy_matmul_peak
from tfbert.hardware.precision import choose_precision
from tfbert.hardware.strategies import sum_over_workers
from tfbert.io.whole import replacing, saving
from tfbert.models.distillation.distilled import DistilledPretrainer
from tfbert.models.layers.attention_choice import use_attention
from tfbert.models.pretrainer import BertPretrainer, save_pretrainer
from tfbert.recipes.cost import CostModel
from tfbert.recipes.phase_data import PhaseData, open_phases
from tfbert.recipes.phase_model import begin_phase, choose_forms, make_first_model
from tfbert.recipes.phases import Phase, batch_orders
from tfbert.recipes.plan import plan_lines
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.batches import PretrainingBatches
from tfbert.records.record_source import find_dataset
from tfbert.recovery.checkpoint_files import phase_folder
from tfbert.recovery.checkpoints import phase_to_resume
from tfbert.recovery.recovery_options import Recovery
from tfbert.runs.outputs.pretrain_callbacks import EvaluationHistory, PretrainingCurves
from tfbert.runs.outputs.run_directory import RunDirectory, size_in_bytes
from tfbert.runs.starting import RunResult, start

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger("tfbert")


def pretrain(config: PretrainConfig) -> RunResult:
    """Trains masked-token and next-sentence prediction phase by phase (Devlin et al. 2019).

    With a `teacher`, also or only the distance from its hidden states.

    Returns:
        A `RunResult`; the run directory holds `config.yaml`, `metrics.json`, `logs/`,
        `checkpoints/` and `model/`, a KerasHub preset that `tfbert finetune --model` takes.

    Raises:
        InputError: If an option, the records or the model is wrong.
        MachineError: If memory or disk is exhausted.
    """
    return start(_pretrain, config)


def _pretrain(
    config: PretrainConfig, strategy: tf.distribute.Strategy, run: RunDirectory, resumes: bool
) -> RunResult:
    began = time.perf_counter()
    dataset = find_dataset(config.data, config.vocab)
    keras.utils.set_random_seed(config.seed)
    precision = choose_precision(config.precision)
    phases = config.scaled_phases()
    data = open_phases(config, dataset, phases, strategy.num_replicas_in_sync)
    # Only the chief knows whether the run is resumed: the others add 0 to its phase.
    checkpoints = RunDirectory(config.output).checkpoints
    first = phase_to_resume(checkpoints, len(phases)) if resumes else 0
    first = sum_over_workers(strategy, first)
    with strategy.scope():
        model, tokenizer, phases = make_first_model(
            config, dataset["options"], data[0].train, precision, phases
        )
    recorded = run.recorded().get("phases", []) if resumes else []
    earlier = [phase.get("attention") for phase in recorded] or [None] * len(phases)
    forms = choose_forms(model, config, phases, data, earlier)
    costs = CostModel.of(model, phases[-1].num_layers, config.optimizer)
    resolved = {
        "backend": keras.backend.backend(),
        "precision": precision,
        "replicas": strategy.num_replicas_in_sync,
        "phases": [
            {
                **dataclasses.asdict(phase),
                "predictions": of_phase.predictions,
                "accumulate_steps": of_phase.accumulate_steps,
                "attention": form,
            }
            for phase, of_phase, form in zip(phases, data, forms, strict=True)
        ],
    }
    fingerprint: dict[str, Any] = {"records": _digest(dataset), "precision": precision}
    if isinstance(model, DistilledPretrainer):
        fingerprint["teacher"] = model.teacher.checksum()
    with run.writing(config, resumes, command="pretrain", resolved=resolved) as status:
        peak = strategy_matmul_peak(strategy, model.backbone.compute_dtype)
        for line in plan_lines(costs, phases, data):
            log.info(line)
        flops = [
            costs.update(phase, of_phase.predictions).products
            for phase, of_phase in zip(phases, data, strict=True)
        ]
        curves = PretrainingCurves(run.logs, phases, flops, status, peak, config.progress)
        history = EvaluationHistory()
        steps = [phase.steps for phase in phases]
        for number in range(first, len(phases)):
            model = begin_phase(model, config, phases, number, data[number].accumulate_steps)
            use_attention(model.backbone, forms[number])
            curves.begin_phase(number)
            recovery = config.recovery(
                phase_folder(checkpoints, number),
                first_update=sum(steps[:number]),
                # Kept until this phase has as many checkpoints of its own as --keep-checkpoints
                # says, in case its first ones are damaged.
                earlier=[str(phase_folder(checkpoints, earlier)) for earlier in range(number)],
                fingerprint=fingerprint,
            )
            _fit(model, config, number, phases[number], data[number], [curves, history], recovery)
        curves.close()
        size = size_in_bytes(model.variables)
        with saving(run.model, size), replacing(run.model) as temporary:
            save_pretrainer(model, tokenizer, temporary)
        metrics: dict[str, Any] = {name: values[-1] for name, values in history.history.items()}
        metrics["updates"] = sum(phase.steps for phase in phases)
        metrics["sequences"] = sum(phase.steps * phase.global_batch_size for phase in phases)
        metrics["seconds"] = time.perf_counter() - began
        run.write_metrics(metrics)
    return RunResult(model, history.history, metrics, str(run.path))


def _fit(
    model: BertPretrainer,
    config: PretrainConfig,
    number: int,
    phase: Phase,
    data: PhaseData,
    callbacks: list[keras.callbacks.Callback],
    recovery: Recovery,
) -> None:
    """Trains a phase from its beginning or from its newest checkpoint."""
    batches = PretrainingBatches(
        data.train,
        config.eval_steps,
        phase.steps,
        data.first_batch,
        config.loss_share_of_teacher,
    )
    replicas = model.distribute_strategy.num_replicas_in_sync
    micro_batch = phase.global_batch_size // replicas // data.accumulate_steps
    if config.staging != "none":  # a stage is a part of a recipe's phase, whose option it is
        order, _ = batch_orders(config.scaled_phases())[number]
        number = [order for order, _ in batch_orders(config.phases)].index(order)
    option = f"--phases.{number}.per-device-batch-size"
    with out_of_memory_advice(micro_batch, phase.sequence_length, " or a smaller model", option):
        model.fit(
            batches,
            epochs=batches.epochs,
            validation_data=data.held_out,
            callbacks=callbacks,
            verbose=0,
            recovery=recovery,
        )


def _digest(dataset: dict[str, Any]) -> str:
    """A fingerprint of the records."""
    content = [dataset["options"], dataset["vocabulary"]]
    content += [(shard["length"], shard["sha256"]) for shard in dataset["shards"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

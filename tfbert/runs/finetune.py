"""`tfbert finetune`: from labelled texts and a pre-trained encoder to a trained model."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import keras
import numpy as np

from tfbert.errors import InputError
from tfbert.fit.compilation import make_optimizer, resolve_jit_compile
from tfbert.hardware.memory import out_of_memory_advice
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.hardware.strategies import backend, has_one_shape, sum_over_workers
from tfbert.io.paths import absolute
from tfbert.io.whole import replacing, saving, write_json
from tfbert.models.encoder import freeze_lower_layers
from tfbert.models.layers.attention_choice import choose_attention, use_attention
from tfbert.models.layers.word_table import OccurringWords
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import TrainedModel, load_model, make_model, save_model
from tfbert.optimizers.schedules import WarmupPolynomialDecay
from tfbert.recipes.batch_size import accumulate_steps
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.outputs.callbacks import ProgressBar, StatusUpdates, TensorBoardCurves
from tfbert.runs.outputs.kept_epoch import KeptEpoch, keep_epoch, kept_epoch_line
from tfbert.runs.outputs.run_directory import RunDirectory, size_in_bytes
from tfbert.runs.outputs.status import RunStatus
from tfbert.runs.scoring import batch_lengths, evaluate_examples, fixed_rows, predict_examples
from tfbert.runs.starting import RunResult, start
from tfbert.runs.tuning_data import TuningData, read_tuning_data
from tfbert.tasks.examples import Examples
from tfbert.tasks.known_problems import PROBLEM_FILE
from tfbert.tasks.known_tasks import TASKS, Task
from tfbert.tasks.tokens.batch_sources import TrainingBatches
from tfbert.tasks.tokens.batching import LengthBatches, TokenBatches, fitted_lengths
from tfbert.tasks.tokens.encoded import EncodedExamples

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger("tfbert")

_LAMB_RATE, _ITS_BATCH = 2.5e-4, 32  # moves weights as far as Adam's 5e-5: docs/speed.md


def finetune(config: FinetuneConfig, data: TuningData | None = None) -> RunResult:
    """Trains a head and the encoder below it (Devlin et al. 2019, section 4) with `model.fit`.

    Args:
        config: The options.
        data: What `read_tuning_data` returns for them; None reads it.

    Returns:
        A `RunResult`; the run directory holds `config.yaml`, `metrics.json`, `logs/`,
        `checkpoints/` and `model/`.

    Raises:
        InputError: If an option, the data or the model is wrong.
        MachineError: If memory or disk is exhausted.
    """
    return start(functools.partial(_finetune, data=data), config)


def _finetune(
    config: FinetuneConfig,
    strategy: tf.distribute.Strategy,
    run: RunDirectory,
    resumes: bool,
    data: TuningData | None = None,
) -> RunResult:
    began = time.perf_counter()
    data = data or read_tuning_data(config)
    keras.utils.set_random_seed(config.seed)
    replicas = strategy.num_replicas_in_sync
    micro_batches = accumulate_steps(
        config.global_batch_size, config.per_device_batch_size, replicas
    )
    precision = choose_precision(config.precision)
    task = TASKS[config.task]
    epochs = config.epochs or task.epochs
    with strategy.scope():
        encoder = load_encoder(
            config.model or "embedded",
            POLICIES[precision],
            config.rematerialize,
            config.dropout,
            config.attention_dropout,
        )
        freeze_lower_layers(encoder.backbone, config.freeze_layers)
        trained = TrainedModel(
            make_model(encoder.backbone, data.problem),
            encoder.tokenizer,
            data.problem,
            _max_length(config, encoder.backbone),
        )
    batches = _training_batches(trained, data, config)
    evaluation = _encode(trained, data.evaluation, "evaluation", config.token_cache)
    learning_rate = config.learning_rate or usual_rate(config, task, batches)
    log.info("learning rate: %g at its peak", learning_rate)
    with strategy.scope():
        updates = epochs * batches.steps_per_epoch
        _compile(trained, config, learning_rate, updates, micro_batches)
    earlier = run.recorded() if resumes else {}
    attention = _choose_attention(trained, batches, config, micro_batches, earlier.get("attention"))
    # A run that began with the whole table goes on with it, as those of earlier versions do.
    vocabulary = trained.model.backbone.vocabulary_size
    began_whole = resumes and earlier.get("word_rows", vocabulary) == vocabulary
    with strategy.scope():
        words = OccurringWords(
            trained.model,
            [batches.texts, evaluation.texts],
            whole=bool(sum_over_workers(strategy, int(began_whole))),
        )

    resolved = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "max_length": trained.max_length,
        "problem": data.problem.name,
        "backend": keras.backend.backend(),
        "precision": precision,
        "replicas": replicas,
        "accumulate_steps": micro_batches,
        "attention": attention,
        "word_rows": words.rows,
        # Where `evaluate` finds them again, from any working directory.
        "data": config.data and absolute(config.data),
        "eval_data": config.eval_data and absolute(config.eval_data),
    }
    record = {"command": "finetune", "labels": data.problem.labels, "resolved": resolved}
    with run.writing(config, resumes, **record) as status:
        seen = words.for_model(batches), words.for_model(evaluation)
        history, kept = _fit(trained, *seen, data, config, epochs, run, status)
        with strategy.scope():
            words.put_back(kept.updates)
        size = size_in_bytes(trained.model.variables)
        with saving(run.model, size), replacing(run.model) as temporary:
            save_model(trained, temporary)
            if data.problem.calibrates:
                # In the arithmetic in which it is used: scores of another one are shifted.
                opened = load_model(str(temporary), "float32")
                outputs = predict_examples(opened, evaluation, config.global_batch_size)
                problem = data.problem.calibrated(outputs, evaluation, data.evaluation)
                write_json(temporary / PROBLEM_FILE, problem.config())
        # Measured on what was saved, so that `tfbert evaluate` prints the same numbers.
        saved = load_model(str(run.path), "float32")
        measured_with = (config.global_batch_size, config.progress, config.token_cache)
        metrics = evaluate_examples(saved, data.evaluation, *measured_with)
        for name, examples in data.further.items():
            metrics[name] = evaluate_examples(saved, examples, *measured_with)
        metrics |= {"epochs": len(history["loss"]), "kept_epoch": kept.number}
        metrics |= {"seconds": time.perf_counter() - began}
        run.write_metrics(metrics)
    main_metric = data.problem.main_metric
    values = history.get(f"val_{main_metric}", [])
    log.info(kept_epoch_line(config.keep_epoch, kept.number, main_metric, values))
    return RunResult(trained.model, history, metrics, str(run.path))


def _max_length(config: FinetuneConfig, backbone: keras.Model) -> int:
    limit = backbone.max_sequence_length
    if config.max_length and config.max_length > limit:
        raise InputError(f"--max-length {config.max_length}: the model ends at {limit} tokens")
    return config.max_length or min(TASKS[config.task].max_length, limit)


def usual_rate(config: FinetuneConfig, task: Task, batches: TrainingBatches) -> float:
    """The task's rate, which is Adam's; LAMB's follows from the batch alone (docs/speed.md)."""
    if config.optimizer != "lamb":
        return task.learning_rate
    rows: float = config.global_batch_size
    if config.tokens_per_batch:
        rows = len(batches.texts) / batches.steps_per_epoch
    return float(f"{_LAMB_RATE * math.sqrt(rows / _ITS_BATCH):.2g}")


def _compile(
    trained: TrainedModel,
    config: FinetuneConfig,
    learning_rate: float,
    updates: int,
    accumulate_steps: int,
) -> None:
    model = trained.model
    schedule = WarmupPolynomialDecay(
        learning_rate, updates, warmup_steps=round(config.warmup_fraction * updates)
    )
    model.compile(
        optimizer=make_optimizer(
            config.optimizer,
            model,
            schedule,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm or None,
        ),
        loss=trained.problem.make_loss(),
        weighted_metrics=trained.problem.make_metrics(),
        accumulate_steps=accumulate_steps,
        steps_per_execution=config.steps_per_execution,
        jit_compile=_jit_compile(config),
        seed=config.seed,
    )


def _choose_attention(
    trained: TrainedModel,
    batches: TrainingBatches,
    config: FinetuneConfig,
    accumulate_steps: int,
    earlier: str | None,
) -> str:
    """Gives the encoder the form of attention that is the faster one in most batches."""
    backbone, devices = trained.model.backbone, trained.model.distribute_strategy
    length, rows = batches.usual_length, config.global_batch_size
    if config.tokens_per_batch:
        rows = config.tokens_per_batch // length
    rows = math.ceil(rows / devices.num_replicas_in_sync / accumulate_steps)
    form = choose_attention(config.attention, backbone, devices, rows, length, earlier)
    use_attention(backbone, form)
    return form


def _jit_compile(config: FinetuneConfig) -> bool | str:
    """What `compile` takes."""
    return "auto" if config.jit_compile is None else config.jit_compile


def _training_batches(
    trained: TrainedModel, data: TuningData, config: FinetuneConfig
) -> TrainingBatches:
    """The `TrainingBatches` of a run.

    Raises:
        InputError: If a batch cannot hold the longest text.
    """
    if config.tokens_per_batch and config.tokens_per_batch < trained.max_length:
        raise InputError(
            f"--tokens-per-batch {config.tokens_per_batch}: a single text may have "
            f"{trained.max_length} tokens; give at least as many, or a lower --max-length"
        )
    encoded = _encode(trained, data.train, "training", config.token_cache, data.class_weights)
    texts = encoded.texts
    is_compiled = resolve_jit_compile(trained.model, _jit_compile(config))
    lengths = batch_lengths(trained, is_compiled, config.pad_to_max_length)
    if config.tokens_per_batch and has_one_shape(trained.model.distribute_strategy):
        raise InputError(
            "--tokens-per-batch: batches on a TPU have one shape; give --global-batch-size instead"
        )
    # JAX compiles the whole update for each length: there are four, chosen for these texts.
    is_fitted = backend() == "jax" and not config.pad_to_max_length
    batches: TokenBatches | LengthBatches
    rows: int | Callable[[int], int | None] | None
    if config.tokens_per_batch:
        if is_fitted:
            lengths = fitted_lengths(texts.lengths, trained.max_length)
        rows = functools.partial(_rows_of_length, trained, config.tokens_per_batch)
        batches = TokenBatches(texts.lengths, lengths, config.tokens_per_batch, config.seed)
        log.info(
            "%d updates an epoch of up to %d tokens, %.1f examples on average",
            batches.steps,
            config.tokens_per_batch,
            len(texts) / batches.steps,
        )
    else:
        # Where all are padded alike, none is longer than another.
        token_counts = texts.lengths * (len(lengths) > 1)
        batches = LengthBatches(token_counts, config.global_batch_size, config.seed)
        if is_fitted:
            longest = [texts.lengths[batch].max() for batch in batches.epoch(0)]
            lengths = fitted_lengths(np.array(longest), trained.max_length)
        rows = fixed_rows(trained, config.global_batch_size)
    assert encoded.targets is not None, "training examples have labels"
    return TrainingBatches(texts, batches, lengths, encoded.targets, rows)


def _rows_of_length(trained: TrainedModel, tokens: int, length: int) -> int | None:
    """`fixed_rows` of a batch of so many tokens."""
    return fixed_rows(trained, tokens // length)


def _fit(
    trained: TrainedModel,
    batches: TrainingBatches,
    evaluation: EncodedExamples,
    data: TuningData,
    config: FinetuneConfig,
    epochs: int,
    run: RunDirectory,
    status: RunStatus,
) -> tuple[dict[str, list[float]], KeptEpoch]:
    """Trains on `TrainingBatches`; returns Keras' history, and which epoch is kept."""
    model, problem, examples = trained.model, trained.problem, len(batches.texts)

    def evaluate(interrupts: Callable[[], bool]) -> dict[str, float]:
        status.update(phase="evaluating")
        outputs = predict_examples(
            trained, evaluation, config.global_batch_size, interrupts=interrupts
        )
        if interrupts():
            return {}
        metrics = problem.measure(outputs, evaluation, data.evaluation)
        return {name: value for name, value in metrics.items() if isinstance(value, float)}

    # An average, if batches are measured in tokens.
    examples_a_step = (
        examples / batches.steps_per_epoch if config.tokens_per_batch else config.global_batch_size
    )
    monitor = f"val_{problem.main_metric}"
    callbacks = [TensorBoardCurves(run.logs, batches), StatusUpdates(status)]
    if config.progress:
        callbacks.append(ProgressBar(epochs * examples, round(examples_a_step), "training"))
    if config.early_stopping:
        callbacks.append(
            keras.callbacks.EarlyStopping(monitor, mode="max", patience=config.early_stopping)
        )
    recovery = config.recovery(
        # The chief's, from which all workers continue.
        RunDirectory(config.output).checkpoints,
        monitor=monitor,
        mode="max",
        fingerprint={
            "data": _digest_of_data(batches, evaluation, data.evaluation),
            # Of what lengths there are, a TPU and XLA decide.
            "division into batches, which depends on the kind of device": _digest(
                batches.batches.epoch(0)
            ),
            "precision": model.backbone.dtype_policy.name,
        },
    )
    with _out_of_memory_advice(trained, config):
        history = model.fit(
            batches,
            epochs=epochs,
            validation_data=evaluate,
            callbacks=callbacks,
            verbose=0,
            recovery=recovery,
        )
    kept = keep_epoch(config.keep_epoch, model, recovery, len(history.epoch))
    return history.history, kept


def _out_of_memory_advice(
    trained: TrainedModel, config: FinetuneConfig
) -> contextlib.AbstractContextManager[None]:
    model, max_length = trained.model, trained.max_length
    shorter = max(3, max_length // 2)
    others = f", --rematerialize, --max-length {shorter}, --freeze-layers, or a smaller model"
    replicas = model.distribute_strategy.num_replicas_in_sync
    if config.tokens_per_batch:
        return out_of_memory_advice(
            math.ceil(config.tokens_per_batch / max_length / replicas),
            max_length,
            others,
            "--tokens-per-batch",
            max(max_length, config.tokens_per_batch // 2) % config.tokens_per_batch,
        )
    micro_batch = math.ceil(config.global_batch_size / replicas / model.accumulate_steps)
    return out_of_memory_advice(micro_batch, max_length, others, "--per-device-batch-size")


def _digest_of_data(
    batches: TrainingBatches, evaluation: EncodedExamples, examples: Examples
) -> str:
    texts = batches.texts
    arrays = [texts.values, texts.lengths, *batches.targets.arrays(), evaluation.texts.values]
    return _digest([*arrays, np.array(list(map(str, examples.labels or [])), np.str_)])


def _digest(arrays: Iterable[np.ndarray]) -> str:
    """Differs where the arrays do."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).data for a in arrays)).hexdigest()[:16]


def _encode(
    trained: TrainedModel,
    examples: Examples,
    title: str,
    cache: str,
    class_weights: np.ndarray | None = None,
) -> EncodedExamples:
    encoded = trained.problem.encode(
        trained.tokenizer, examples, trained.max_length, cache, class_weights
    )
    if encoded.cut:
        log.info("%s: %s", title, encoded.cut)
    return encoded

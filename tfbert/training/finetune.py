"""The main job: from labelled texts and a pre-trained encoder to a run with a classifier in it."""

import logging
import math
import os
import time
from typing import Any, NamedTuple

import keras
import numpy as np

from tfbert.data.batching import LengthBatches
from tfbert.data.feeding import evaluation_dataset, training_dataset
from tfbert.data.tables import Examples
from tfbert.data.tasks import TASKS, Source, label_ids, label_names
from tfbert.data.tokenization import tokenize
from tfbert.errors import InputError, TfbertError
from tfbert.files import replacing
from tfbert.models.classifier import (
    BertClassifier,
    TrainedClassifier,
    freeze_lower_layers,
    load_classifier,
    save_classifier,
)
from tfbert.models.sources import load_encoder
from tfbert.optimizers.lamb import LAMB
from tfbert.optimizers.loss_scale import LossScaleOptimizer
from tfbert.optimizers.schedules import WarmupPolynomialDecay
from tfbert.training.callbacks import EpochWeights, ProgressBar, TensorBoardCurves
from tfbert.training.distribution import get_strategy
from tfbert.training.evaluate import evaluate_examples
from tfbert.training.failures import explaining_exhausted_memory
from tfbert.training.precision import POLICIES, choose_precision
from tfbert.training.run_directory import RunDirectory, saving, size_in_bytes

log = logging.getLogger("tfbert")


class FinetuneResult(NamedTuple):
    """What `finetune` returns.

    Args:
        model: The trained `BertClassifier`.
        history: By metric, its value after each epoch (Keras' history).
        metrics: The content of `metrics.json`.
        run_directory: Path of the run directory.
    """

    model: Any
    history: dict
    metrics: dict
    run_directory: str


class _Data(NamedTuple):
    """Both splits, the labels' names, and the weight of each label in the loss."""

    train: Examples
    evaluation: Examples
    labels: list[str]
    class_weights: np.ndarray


def finetune(config):
    """Trains a sentence classifier (Devlin et al. 2019, section 4.1) with `model.fit`.

    Args:
        config: A `FinetuneConfig`.

    Returns:
        A `FinetuneResult`; the run directory holds `config.yaml`, `metrics.json`, `logs/`,
        `checkpoints/` and `model/`.

    Raises:
        InputError: If an option, the data or the model is wrong.
        MachineError: If memory or disk is exhausted.
    """
    began = time.perf_counter()
    run = RunDirectory(config.output)
    run.check_free(config.overwrite)
    data = _read_data(config)
    keras.utils.set_random_seed(config.seed)
    strategy = get_strategy(config.replicas)
    precision = choose_precision(config.precision)
    task = TASKS[config.task]
    epochs = config.epochs or task.epochs
    learning_rate = config.learning_rate or task.learning_rate
    with strategy.scope():
        encoder = load_encoder(config.model or "embedded", POLICIES[precision])
        freeze_lower_layers(encoder.backbone, config.freeze_layers)
        classifier = TrainedClassifier(
            BertClassifier(encoder.backbone, len(data.labels)),
            encoder.tokenizer,
            data.labels,
            _max_length(config, encoder.backbone),
        )
        steps = epochs * math.ceil(len(data.train.texts) / config.batch_size)
        _compile(classifier.model, config, learning_rate, steps, precision)

    resolved = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "max_length": classifier.max_length,
        "precision": precision,
        "replicas": strategy.num_replicas_in_sync,
        # Where `evaluate` finds them again, from any working directory.
        "data": config.data and os.path.abspath(config.data),
        "eval_data": config.eval_data and os.path.abspath(config.eval_data),
    }
    with run.writing(config, command="finetune", labels=data.labels, resolved=resolved):
        history = _fit(classifier, data, config, epochs, run)
        size = size_in_bytes(classifier.model.variables)
        with saving(run.model, size), replacing(run.model) as temporary:
            save_classifier(classifier, temporary)
        # Measured on what was saved, so that `tfbert evaluate` prints the same numbers.
        saved = load_classifier(str(run.path), "float32")
        metrics = evaluate_examples(saved, data.evaluation, config.batch_size, config.progress)
        metrics |= {"epochs": len(history["loss"]), "seconds": time.perf_counter() - began}
        run.write_metrics(metrics)
    return FinetuneResult(classifier.model, history, metrics, str(run.path))


def _read_data(config):
    source = Source(
        config.task, config.data, config.text_column, config.label_column, config.encoding
    )
    train, evaluation = source.splits(config.eval_data, config.eval_fraction, config.split_seed)
    labels = label_names(train, evaluation)
    log.info(
        "data: %d training and %d evaluation examples; labels: %s",
        len(train.texts),
        len(evaluation.texts),
        ", ".join(labels),
    )
    class_weights = _class_weights(config.class_weights, label_ids(train, labels), labels)
    return _Data(train, evaluation, labels, class_weights)


def _class_weights(requested, ids, labels):
    """(classes,) float32: the weight of each class in the loss."""
    if requested == "none":
        return np.ones(len(labels), np.float32)
    if requested == "balanced":
        counts = np.bincount(ids, minlength=len(labels))
        return (len(ids) / (len(labels) * counts)).astype(np.float32)
    if len(requested) != len(labels):
        raise InputError(
            f"--class-weights has {len(requested)} numbers for {len(labels)} labels "
            f"({', '.join(labels)})"
        )
    return np.array(requested, np.float32)


def _max_length(config, backbone):
    limit = backbone.max_sequence_length
    if config.max_length and config.max_length > limit:
        raise InputError(f"--max-length {config.max_length}: the model ends at {limit} tokens")
    return config.max_length or min(TASKS[config.task].max_length, limit)


def _compile(model, config, learning_rate, steps, precision):
    schedule = WarmupPolynomialDecay(
        learning_rate, steps, warmup_steps=round(config.warmup_fraction * steps)
    )
    if config.optimizer == "lamb":
        optimizer = LAMB(schedule, weight_decay=config.weight_decay)
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, epsilon=1e-6)
        # By variable, not by name: Keras compares names of TensorFlow's that differ from its own.
        optimizer.exclude_from_weight_decay(
            var_list=[
                variable
                for variable in model.trainable_variables
                if variable.path.endswith(("gamma", "beta", "bias"))
            ]
        )
    if precision == "float16":
        optimizer = LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        # XLA would compile every length anew, and is slower than oneDNN on CPUs.
        jit_compile=False,
    )


def _fit(classifier, data, config, epochs, run):
    """Trains, and returns Keras' history."""
    model, max_length = classifier.model, classifier.max_length
    replicas = model.distribute_strategy.num_replicas_in_sync
    train_texts = _tokenize(classifier, data.train, "training")
    evaluation_texts = _tokenize(classifier, data.evaluation, "evaluation")
    train_batches = LengthBatches(train_texts.lengths, config.batch_size, config.seed)
    train_labels = label_ids(data.train, data.labels)
    evaluation_labels = label_ids(data.evaluation, data.labels)
    weights = EpochWeights(run.checkpoints)
    stop = keras.callbacks.TerminateOnNaN()
    callbacks = [stop, TensorBoardCurves(run.logs, config.batch_size), weights]
    if config.progress:
        callbacks.append(ProgressBar(epochs * len(train_texts), config.batch_size, "training"))
    if config.early_stopping:
        callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=config.early_stopping))
    others = f", --max-length {max(3, max_length // 2)}, --freeze-layers, or a smaller model"
    with explaining_exhausted_memory(config.batch_size, max_length, others):
        history = model.fit(
            training_dataset(
                train_texts, train_batches, max_length, train_labels, data.class_weights, replicas
            ),
            epochs=epochs,
            steps_per_epoch=train_batches.steps,
            validation_data=evaluation_dataset(
                evaluation_texts,
                LengthBatches(evaluation_texts.lengths, config.batch_size),
                max_length,
                evaluation_labels,
                replicas,
            ),
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    losses = history.history["loss"] + history.history.get("val_loss", [])
    if not np.isfinite(losses).all():
        raise TfbertError(
            f"training diverged in epoch {len(history.history['loss'])}: the loss is no finite "
            "number; try a lower --learning-rate or --precision float32"
        )
    if config.early_stopping:
        model.load_weights(weights.best)
    return history.history


def _tokenize(classifier, examples, title):
    texts = tokenize(classifier.tokenizer, examples.texts, classifier.max_length)
    if texts.truncated_texts:
        log.info(
            "%d of %d %s texts are longer than %d tokens and were cut: %d tokens (%.1f %%) dropped",
            texts.truncated_texts,
            len(texts),
            title,
            classifier.max_length,
            texts.dropped_tokens,
            100 * texts.dropped_tokens / (texts.dropped_tokens + len(texts.values)),
        )
    return texts

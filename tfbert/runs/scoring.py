"""A classifier's logits for texts, their metrics, and a table of these."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.errors import InputError
from tfbert.hardware.memory import out_of_memory_advice
from tfbert.models.classifier import TrainedClassifier
from tfbert.runs.outputs.callbacks import ProgressBar
from tfbert.runs.uncertainty import log_wide_interval
from tfbert.tasks.batch_sources import prediction_dataset, prediction_inputs
from tfbert.tasks.batching import LengthBatches, padded_lengths
from tfbert.tasks.labelled_data import label_ids
from tfbert.tasks.tables import Examples
from tfbert.tasks.token_cache import tokenize_once
from tfbert.tasks.tokenization import TokenizedTexts

log = logging.getLogger("tfbert")


def evaluate_examples(
    classifier: TrainedClassifier,
    examples: Examples,
    batch_size: int,
    progress: bool,
    token_cache: str = "memory",
) -> dict[str, Any]:
    """The `classification_metrics` of a classifier on labelled examples.

    Args:
        classifier: Its model may be distributed.
        batch_size: Texts a step, over all replicas together.
        token_cache: As in `EvaluateConfig`.

    Raises:
        InputError: If a label is not one of the model's.
    """
    unknown = set(examples.labels) - set(classifier.labels)
    if unknown:
        raise InputError(
            f"the label {min(unknown)!r} is not among the labels that the model was trained on "
            f"({', '.join(classifier.labels)})"
        )
    texts = tokenize_once(classifier.tokenizer, examples.texts, classifier.max_length, token_cache)
    logits = predict_logits(classifier, texts, batch_size, "evaluating" if progress else None)
    ids = label_ids(examples, classifier.labels)
    metrics = classification_metrics(logits, ids, classifier.labels)
    log_wide_interval(metrics)
    _log_single_answer(logits, ids, classifier.labels)
    return metrics


def _log_single_answer(logits: np.ndarray, ids: np.ndarray, labels: Sequence[str]) -> None:
    """Says in the log if a classifier gives one answer to examples of several classes."""
    answers = np.unique(logits.argmax(-1))
    if len(answers) == 1 and len(np.unique(ids)) > 1:
        log.warning(
            "every one of the %d examples was answered with %r: the classifier does not tell the "
            "classes apart; train it with a lower --learning-rate, more --epochs or, where a class "
            "is rare, --class-weights balanced",
            *(len(ids), labels[answers[0]]),
        )


def predict_logits(
    classifier: TrainedClassifier,
    texts: TokenizedTexts,
    batch_size: int,
    title: str | None = None,
) -> np.ndarray:
    """The logits of tokenized texts, in their order.

    Args:
        classifier: Its model may be distributed.
        batch_size: Texts a step, over all replicas together.
        title: Title of the progress bar; None shows none.

    Returns:
        (texts, classes) float32.

    Raises:
        MachineError: If memory is exhausted.
    """
    rows, count = fixed_rows(classifier, batch_size), len(texts)
    if not rows and 0 < count < batch_size:
        # Every number of rows has programs of its own (see `tfbert.models.layers.kernels.fused`): a
        # service that gets a few texts at a time must not make them for each number.
        texts = texts.filled_up(min(batch_size, 1 << (count - 1).bit_length()))
    # Batches of as many texts as rows: only the last one may be filled up.
    batches = LengthBatches(texts.lengths, rows or batch_size)
    lengths = batch_lengths(classifier, classifier.model.jit_compile)
    with out_of_memory_advice(batch_size, classifier.max_length):
        if batches.steps == 1 and not title:
            (positions,) = batches.epoch(0)
            inputs = prediction_inputs(texts, positions, lengths, rows)
            found = classifier.model.predict_on_batch(inputs)
        else:
            dataset = prediction_dataset(texts, batches, lengths, rows)
            bar = [ProgressBar(count, batch_size, title)] if title else []
            found = classifier.model.predict(dataset, verbose=0, callbacks=bar)
    logits = np.empty((len(texts), found.shape[-1]), np.float32)
    logits[np.concatenate(batches.epoch(0))] = found[: len(texts)]
    return logits[:count]


def batch_lengths(
    classifier: TrainedClassifier, jit_compile: bool, only_longest: bool = False
) -> np.ndarray:
    """The lengths that a classifier's batches may be padded to.

    Args:
        jit_compile: Whether XLA compiles its steps: then the lengths are few, as it makes a program
            for each.
        only_longest: Whether all batches are padded to the longest text that the model takes. On
            a TPU they are in any case, as it takes batches of one shape only.

    Returns:
        (lengths,) ascending.
    """
    if only_longest or _is_on_tpu(classifier):
        return np.array([classifier.max_length])
    return padded_lengths(classifier.max_length, few=jit_compile)


def fixed_rows(classifier: TrainedClassifier, batch_size: int) -> int | None:
    """The rows that every batch must have, or None where they may differ.

    On a TPU all batches have one shape, which its cores can share.
    """
    if not _is_on_tpu(classifier):
        return None
    cores = classifier.model.distribute_strategy.num_replicas_in_sync
    return -(-batch_size // cores) * cores


def _is_on_tpu(classifier: TrainedClassifier) -> bool:
    return isinstance(classifier.model.distribute_strategy, tf.distribute.TPUStrategy)


def log_probabilities(logits: Any) -> np.ndarray:
    """Logarithms of the classes' probabilities: (examples, classes) float64, as the logits."""
    logits = np.asarray(logits, np.float64)
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def classification_metrics(logits: Any, label_ids: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Metrics of a classifier, computed in float64.

    Args:
        logits: (examples, classes).
        label_ids: (examples,) int, the right class of each.

    Returns:
        A dict of `accuracy`, `macro_f1`, `loss` (mean cross-entropy in nats), `examples`, and
        `per_class`: by label `precision`, `recall`, `f1` and `examples`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    logits = np.asarray(logits, np.float64)
    predictions = logits.argmax(-1)
    loss = -log_probabilities(logits)[np.arange(len(logits)), label_ids].mean()
    classes = range(len(labels))
    rows = precision_recall_fscore_support(label_ids, predictions, labels=classes, zero_division=0)
    names = ("precision", "recall", "f1")
    return {
        "accuracy": float((predictions == label_ids).mean()),
        "macro_f1": float(rows[2].mean()),
        "loss": float(loss),
        "examples": len(logits),
        "per_class": {
            label: {
                **{name: float(row[i]) for name, row in zip(names, rows, strict=False)},
                "examples": int(rows[3][i]),
            }
            for i, label in enumerate(labels)
        },
    }


def metrics_table(metrics: dict[str, Any]) -> str:
    """The metrics as lines of text."""
    per_class = metrics["per_class"]
    width = max(len(label) for label in (*per_class, "accuracy"))
    lines = [
        f"{metrics['examples']} examples: accuracy {metrics['accuracy']:.4f}, "
        f"macro F1 {metrics['macro_f1']:.4f}, loss {metrics['loss']:.4f}",
        f"{'':{width}}  precision  recall      F1  examples",
    ]
    for label, row in per_class.items():
        lines.append(
            f"{label:{width}}  {row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}  "
            f"{row['examples']:8d}"
        )
    return "\n".join(lines)

"""Measures a trained classifier on labelled examples."""

import logging

from tfbert.errors import InputError
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.hardware.strategies import get_strategy
from tfbert.models.classifier import load_classifier
from tfbert.models.sources import resolve_source
from tfbert.runs.predict import predict_logits
from tfbert.runs.report import classification_metrics
from tfbert.runs.run_directory import read_run_config
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.labelled_data import LabelledData, label_ids
from tfbert.tasks.token_cache import tokenize_once

log = logging.getLogger("tfbert")


def evaluate(config):
    """Metrics of a classifier.

    Args:
        config: An `EvaluateConfig`. What it leaves out is taken from the run's `config.yaml`.

    Returns:
        The dict of `report.classification_metrics`.

    Raises:
        InputError: If model or data cannot be read, or a label is not the model's.
    """
    resolve_source(config.model)
    examples = _examples(config)
    strategy = get_strategy(config.strategy, config.replicas)
    with strategy.scope():
        classifier = load_classifier(config.model, POLICIES[choose_precision(config.precision)])
    return evaluate_examples(
        classifier, examples, config.batch_size, config.progress, config.token_cache
    )


def evaluate_examples(classifier, examples, batch_size, progress, token_cache="memory"):
    """Metrics of a `TrainedClassifier` on `Examples`; see `evaluate`."""
    unknown = set(examples.labels) - set(classifier.labels)
    if unknown:
        raise InputError(
            f"the label {min(unknown)!r} is not among the labels that the model was trained on "
            f"({', '.join(classifier.labels)})"
        )
    texts = tokenize_once(classifier.tokenizer, examples.texts, classifier.max_length, token_cache)
    logits = predict_logits(classifier, texts, batch_size, "evaluating" if progress else None)
    return classification_metrics(logits, label_ids(examples, classifier.labels), classifier.labels)


def _examples(config):
    run = read_run_config(config.model)
    if config.task and config.task != run.get("task"):
        run = {}  # what the run recorded is about other data
    task = config.task or run.get("task")
    if task is None:
        raise InputError(f"--model {config.model}: no run, so its task is unknown: give --task")
    recorded = run.get("resolved", {})
    path = config.data or recorded.get("eval_data") or recorded.get("data")
    if path is None and TASKS[task].data is None:
        raise InputError(f"--data must be given for --task {task}")
    source = LabelledData(
        task,
        path,
        config.text_column or run.get("text_column"),
        config.label_column or run.get("label_column"),
        config.encoding or run.get("encoding", "utf-8"),
    )
    split = {"fraction": run.get("eval_fraction", 0.1), "seed": run.get("split_seed", 0)}
    if config.data or recorded.get("eval_data"):
        return source.evaluation(**split)
    return source.splits(**split)[1]

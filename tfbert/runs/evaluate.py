"""`tfbert evaluate`: measures a trained classifier on labelled examples."""

from typing import Any

from tfbert.errors import InputError
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.hardware.strategies import get_strategy
from tfbert.models.sources import resolve_source
from tfbert.runs.command_options import EvaluateConfig
from tfbert.runs.outputs.run_directory import read_run_config
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.labels import spelled_like
from tfbert.tasks.tables import Examples


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Metrics of a classifier.

    Args:
        config: An `EvaluateConfig`. What it leaves out is taken from the run's `config.yaml`.

    Returns:
        The dict of `scoring.classification_metrics`.

    Raises:
        InputError: If model or data cannot be read, or a label is not the model's.
    """
    # Both are looked for before TensorFlow starts.
    model, examples = resolve_source(config.model), _examples(config)
    from tfbert.models.classifier import load_classifier
    from tfbert.runs.scoring import evaluate_examples

    with get_strategy(config.strategy, config.replicas).scope():
        classifier = load_classifier(model, POLICIES[choose_precision(config.precision)])
    examples = Examples(examples.texts, spelled_like(examples.labels, classifier.labels))
    return evaluate_examples(
        classifier, examples, config.batch_size, config.progress, config.token_cache
    )


def _examples(config: EvaluateConfig) -> Examples:
    """The examples that the options name or, where they do not, those that the run recorded."""
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
        config.separator or run.get("separator"),
    )
    split = {"fraction": run.get("eval_fraction", 0.1), "seed": run.get("split_seed", 0)}
    if config.data or recorded.get("eval_data"):
        return source.evaluation(**split)
    return source.splits(**split)[1]

"""The labelled data of a fine-tuning, read and checked before TensorFlow is imported."""

import logging
from typing import NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.runs.command_options import FinetuneConfig
from tfbert.tasks.labelled_data import LabelledData, draw, label_ids, label_names
from tfbert.tasks.tables import Examples

log = logging.getLogger("tfbert")


class TuningData(NamedTuple):
    """Both splits, the labels' names, and the weight of each label in the loss, float32."""

    train: Examples
    evaluation: Examples
    labels: list[str]
    class_weights: np.ndarray


def read_tuning_data(config: FinetuneConfig) -> TuningData:
    """The data that a configuration names, with a log line about it.

    Raises:
        InputError: If it cannot be read, or its labels are not those of a classifier.
    """
    source = LabelledData(
        config.task,
        config.data,
        config.text_column,
        config.label_column,
        config.encoding,
        config.separator,
    )
    train, evaluation = source.splits(config.eval_data, config.eval_fraction, config.split_seed)
    if config.train_examples:
        train = draw(train, config.train_examples, config.split_seed)
    labels = label_names(train, evaluation)
    log.info(
        "data: %d training and %d evaluation examples; labels: %s",
        len(train.texts),
        len(evaluation.texts),
        ", ".join(labels),
    )
    weights = class_weights(config.class_weights, label_ids(train, labels), labels)
    return TuningData(train, evaluation, labels, weights)


def class_weights(requested: str | list[float], ids: np.ndarray, labels: list[str]) -> np.ndarray:
    """(classes,) float32: the weight of each class in the loss.

    Args:
        requested: As in `FinetuneConfig`.
        ids: (examples,) int, the class of each training example.

    Raises:
        InputError: If there are not as many numbers as labels.
    """
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

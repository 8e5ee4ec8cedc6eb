"""The labelled data of a fine-tuning, read and checked before TensorFlow is imported."""

import logging
from typing import NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.runs.command_options import FinetuneConfig
from tfbert.tasks.examples import Examples
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.problem import Problem

log = logging.getLogger("tfbert")


class TuningData(NamedTuple):
    """The examples, what is asked of them, and the weights of the outputs in the loss.

    Args:
        further: Evaluation examples beside the first ones, by name, where the task has some.
    """

    train: Examples
    evaluation: Examples
    problem: Problem
    class_weights: np.ndarray | None
    further: dict[str, Examples]


def read_tuning_data(config: FinetuneConfig) -> TuningData:
    """The data that a configuration names, with a log line about it.

    Raises:
        InputError: If it cannot be read, or nothing can be learned from its labels.
    """
    source = LabelledData(
        config.task,
        config.data,
        config.text_column,
        config.label_column,
        config.encoding,
        config.separator,
        config.text_pair_column,
        config.label_separator,
        config.problem,
    )
    train, evaluation = source.splits(config.eval_data, config.eval_fraction, config.split_seed)
    if config.train_examples:
        train = train.draw(config.train_examples, config.split_seed)
    further = {} if config.eval_data else source.further_evaluations()
    try:
        with source.naming_places():
            for examples in further.values():  # are all labels known?
                source.problem.from_data(train, examples, config)
            problem = source.problem.from_data(train, evaluation, config, source.task.main_metric)
    except InputError as error:
        if not config.train_examples:
            raise
        drawn = f"--train-examples {config.train_examples} may be too few"
        raise InputError(f"{error}; {drawn}") from error
    log.info(
        "data: %d training and %d evaluation examples; %s%s",
        len(train.texts),
        len(evaluation.texts),
        problem.name,
        f"; labels: {', '.join(problem.labels)}" if problem.lists_labels and problem.labels else "",
    )
    weights = problem.class_weights(config.class_weights, train)
    return TuningData(train, evaluation, problem, weights, further)

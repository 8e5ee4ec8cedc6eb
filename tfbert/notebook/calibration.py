"""Whether a classifier is as sure as it is right, and the one number that mends it.

A classifier is calibrated if of all answers with a probability of 0.8, four in five are right.
Temperature scaling divides its logits by one number, fitted on examples that it was not trained on;
answers stay as they are, their probabilities change (Guo et al. 2017, "On Calibration of Modern
Neural Networks").
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.models.trained_model import TrainedModel
from tfbert.runs.scoring import predict_outputs
from tfbert.tasks.examples import Examples
from tfbert.tasks.problems.classification import label_ids, log_probabilities
from tfbert.tasks.tokens.tokenization import tokenize

_LOWEST, _HIGHEST = 0.05, 20.0  # what a temperature may be


class Reliability(NamedTuple):
    """Answers in bins of their probability; bins without an answer are left out.

    Args:
        confidence: (bins,) float64, the mean probability of the answers of a bin.
        accuracy: (bins,) float64, the share of them that are right.
        answers: (bins,) int64, how many there are.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    answers: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance between both, each answer counting 1."""
        return float(np.average(abs(self.confidence - self.accuracy), weights=self.answers))


def logits_and_labels(
    classifier: TrainedModel, examples: Examples, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """What a classifier computes for labelled examples, and what is right.

    Returns:
        (examples, classes) float32 and (examples,) int32.
    """
    tokens = tokenize(classifier.tokenizer, examples.texts, classifier.max_length)
    logits = predict_outputs(classifier, tokens, batch_size)
    return np.asarray(logits), label_ids(examples.labels or [], classifier.labels)


def reliability(logits: np.ndarray, label_ids: np.ndarray, bins: int = 20) -> Reliability:
    """How sure a classifier is, and how often right.

    Args:
        logits: (examples, classes).
        label_ids: (examples,) int, the right class of each.
        bins: Of equal width from 0 to 1. With two classes an answer has a probability of 0.5 or
            more, and half of the bins are empty.
    """
    logs = log_probabilities(logits)
    confidence = np.exp(logs.max(-1))
    right = logs.argmax(-1) == label_ids
    return _in_bins(confidence, right, bins)


def error_by_chance(logits: np.ndarray, bins: int = 20, draws: int = 200, seed: int = 0) -> float:
    """The calibration error that a calibrated classifier would have on as many examples.

    It is above 0: of ten answers with a probability of 0.85, none has 8.5 that are right. The mean
    over `draws` in which every answer is right with the probability that it states.
    """
    confidence = np.exp(log_probabilities(logits).max(-1))
    random = np.random.default_rng(seed)
    right = random.random((draws, len(confidence))) < confidence
    return float(np.mean([_in_bins(confidence, row, bins).error for row in right]))


def fit_temperature(logits: np.ndarray, label_ids: np.ndarray) -> float:
    """The temperature by which to divide logits, that of the lowest mean cross-entropy.

    Args:
        logits: (examples, classes) of examples that the classifier was not trained on.
        label_ids: (examples,) int, the right class of each.

    Returns:
        Above 1 for a classifier that is too sure of itself, below 1 for one that is not sure
        enough; at least 0.05 and at most 20.
    """
    from scipy.optimize import minimize_scalar

    logits, rows = np.asarray(logits, np.float64), np.arange(len(logits))

    def cross_entropy(logarithm: float) -> float:
        return float(-log_probabilities(logits / np.exp(logarithm))[rows, label_ids].mean())

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    options = {"xatol": 1e-6}
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded", options=options)
    return float(np.exp(found.x))


def unused_examples(train: Examples, used: int, count: int, split_seed: int = 0) -> Examples:
    """Training examples that a run with `train_examples=used` leaves out.

    Args:
        train: All training examples, as `LabelledData.splits` returns them.
        count: How many to take.
        split_seed: That of the run.

    Raises:
        InputError: If the run uses so many that none are left.
    """
    positions = [str(position) for position in range(len(train.texts))]
    taken = set(Examples(positions, None).draw(used, split_seed).texts)
    left = [position for position in positions if position not in taken]
    if not left:
        raise InputError(
            f"all {len(positions):,} training examples are used: none is left to fit a temperature "
            "on; train on fewer"
        )
    chosen = Examples(left, None).draw(count, split_seed).texts
    return train.take(list(map(int, chosen)))


def _in_bins(confidence: np.ndarray, right: np.ndarray, bins: int) -> Reliability:
    # An answer with probability 1 belongs to the last bin.
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    filled = np.flatnonzero(count)
    return Reliability(
        np.bincount(number, confidence, bins)[filled] / count[filled],
        np.bincount(number, right, bins)[filled] / count[filled],
        count[filled],
    )

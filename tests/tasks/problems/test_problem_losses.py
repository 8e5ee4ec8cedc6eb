"""The loss of several labels against NumPy's float64, however a batch is divided."""

import keras
import numpy as np
import pytest
from helpers.small_models import LINEAR_X, ROWS, make_linear

from tfbert.hardware.strategies import get_strategy
from tfbert.tasks.problems.losses import LabelDecisions, SubsetAccuracy

RANDOM = np.random.default_rng(4)
WEIGHTS = np.array([3.0, 0.5, 1.0], np.float32)
DECISIONS = RANDOM.random((ROWS, 3)) < 0.4
TARGETS = (DECISIONS * WEIGHTS).astype(np.float32)


def expected_loss(logits, weights=WEIGHTS):
    """The mean over all decisions; positive ones count by their label's weight."""
    x = np.asarray(logits, np.float64)
    positive, negative = np.logaddexp(0, -x), np.logaddexp(0, x)
    return np.where(DECISIONS, weights * positive, negative).mean()


def test_without_weights_it_is_the_binary_crossentropy():
    logits = RANDOM.normal(0, 4, (ROWS, 3)).astype(np.float32)
    decisions = DECISIONS.astype(np.float32)
    loss = LabelDecisions()(decisions, logits)
    np.testing.assert_allclose(loss, expected_loss(logits, 1.0), rtol=1e-6)
    stock = keras.losses.BinaryCrossentropy(from_logits=True)(decisions, logits)
    np.testing.assert_allclose(loss, stock, rtol=1e-6)
    assert np.isfinite(LabelDecisions()(decisions, 1e4 * logits))


@pytest.mark.parametrize(("replicas", "accumulate_steps"), [(1, 1), (2, 3)])
def test_class_weights_over_replicas(replicas, accumulate_steps):
    with get_strategy("cpu", replicas).scope():
        model = make_linear()
        model.compile(
            keras.optimizers.SGD(0.0),
            LabelDecisions(),
            weighted_metrics=[SubsetAccuracy()],
            accumulate_steps=accumulate_steps,
        )
    history = model.fit(LINEAR_X, TARGETS, ROWS, verbose=0, shuffle=False).history
    kernel, bias = (np.asarray(v, np.float64) for v in model.weights)
    logits = LINEAR_X.astype(np.float64) @ kernel + bias
    np.testing.assert_allclose(history["loss"], [expected_loss(logits)], rtol=1e-5)
    right = ((logits > 0) == DECISIONS).all(-1).mean()
    np.testing.assert_allclose(history["subset_accuracy"], [right], rtol=1e-6)

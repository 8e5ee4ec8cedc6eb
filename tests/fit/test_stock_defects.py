"""What stock Keras gets wrong under `tf.distribute`, and what is right here.

Each test runs with both kinds of model, that of stock Keras among the slow tests; where it passes
one day, its strict expected failure says so. The defects are those measured with Keras 3.15.1.
"""

import functools
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.processes import finish, start
from helpers.small_models import BATCH, LINEAR_X, LINEAR_Y, Linear, make_linear

import tfbert
from tfbert.hardware.strategies import get_strategy


def stock_fails(reason):
    marks = [pytest.mark.slow, pytest.mark.xfail(strict=True, reason=reason)]
    kinds = [pytest.param(Linear, id="ours"), pytest.param(keras.Model, id="stock", marks=marks)]
    return pytest.mark.parametrize("kind", kinds)


def fit(kind, replicas, optimizer=None, loss=None, rows=16, **options):
    """The weights after training on whole batches, by path, and the history."""
    with get_strategy("cpu", replicas).scope():
        model = make_linear(kind)
        optimizer = optimizer() if optimizer else keras.optimizers.SGD(0.1)
        loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, **options)
    x, y = LINEAR_X[:rows], LINEAR_Y[:rows]
    history = model.fit(x, y, BATCH, shuffle=False, verbose=0).history
    return weights_of(model), history


def weights_of(model):
    return np.concatenate([v.numpy().ravel() for v in model.trainable_variables])


one_replica = functools.cache(lambda kind: fit(kind, 1)[0])


def distance(one, other):
    start = weights_of(make_linear())
    return np.linalg.norm(one - other) / np.linalg.norm(other - start)


@stock_fails("clips what each replica brings, before the reduction")
def test_clipping_comes_after_the_reduction(kind):
    clipping = functools.partial(keras.optimizers.SGD, 0.1, global_clipnorm=0.05)
    one, two = (fit(kind, replicas, clipping)[0] for replicas in (1, 2))
    assert distance(two, one) < 1e-3


@stock_fails("merge_call inside a condition")
def test_accumulation_under_a_strategy(kind):
    if kind is Linear:
        lamb = functools.partial(tfbert.LAMB, 1e-3, jit_compile=False)
        weights, _ = fit(kind, 2, lamb, accumulate_steps=2)
        assert distance(weights, fit(kind, 1, lamb)[0]) < 1e-3
    else:
        fit(kind, 2, lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))


@stock_fails("an Optional in a while loop")
def test_several_steps_an_execution(kind):
    assert distance(fit(kind, 2, steps_per_execution=2)[0], one_replica(kind)) < 1e-3


@stock_fails("a variable on another device")
def test_xla_under_a_strategy(kind):
    assert distance(fit(kind, 2, jit_compile=True)[0], one_replica(kind)) < 1e-3


def mean_crossentropy(labels, logits):
    """A loss that averages by itself, as many users write it."""
    values = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return keras.ops.mean(values)


@stock_fails("a scalar is not divided by the number of replicas")
def test_a_loss_that_returns_a_scalar(kind):
    (one, history_1), (two, history_2) = (
        fit(kind, replicas, loss=mean_crossentropy) for replicas in (1, 2)
    )
    np.testing.assert_allclose(history_2["loss"], history_1["loss"], rtol=1e-5)
    assert distance(two, one) < 1e-3


@stock_fails("the seed generator's state is mirrored")
def test_dropout_differs_between_replicas(kind):
    """Equal rows: without dropout their logits are equal, with other masks they are not."""
    strategy = get_strategy("cpu", 2)
    seen = []

    def spy(labels, logits):
        context = tf.distribute.get_replica_context()
        if context is not None:  # None while Keras builds the loss
            replica = context.replica_id_in_sync_group
            tf.py_function(lambda r, y: seen.append((int(r), y.numpy())), [replica, logits], [])
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    with strategy.scope():
        model = make_linear(kind, dropout=0.5)
        model.compile(keras.optimizers.SGD(0.0), spy)
    model.fit(np.repeat(LINEAR_X[:1], BATCH, 0), np.zeros(BATCH), BATCH, verbose=0)
    first, second = (next(y for r, y in seen if r == replica) for replica in (0, 1))
    assert not np.allclose(first, second)


@stock_fails("the mean over no rows is NaN")
def test_an_uneven_tail_that_leaves_a_replica_nothing(kind):
    """9 rows in batches of 8: the last one is a single row."""
    one, two = (fit(kind, replicas, rows=9) for replicas in (1, 2))
    np.testing.assert_allclose(two[1]["loss"], one[1]["loss"], rtol=1e-5)
    assert distance(two[0], one[0]) < 1e-3


@pytest.mark.slow
@stock_fails("a batch of several workers is reduced to learn its shape")
def test_two_workers(kind):
    """In processes of their own; ours is compared with one device in test_equal_runs.py."""
    worker = [sys.executable, pathlib.Path(__file__).with_name("stock_worker.py")]
    which = "ours" if kind is Linear else "stock"
    finish(start(["-m", "tfbert", "launch", "--workers", "2", "--", *worker, which]), 200)

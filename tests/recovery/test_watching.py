"""What `fit` says of a training that cannot go well, with a `Recovery` and without."""

import keras
import pytest
import tensorflow as tf
from recovery_model import FEATURES, Batches, SmallModel, X, Y

import tfbert
from tfbert.recovery.divergence import Diverged
from tfbert.recovery.watching import TrainingWatch

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
OVERFLOW = "updates overflowed, and none was made"


class NoGradient(keras.layers.Layer):
    """The identity, whose gradient is NaN."""

    def call(self, x):
        return tf.custom_gradient(lambda x: (tf.identity(x), lambda dy: dy * float("nan")))(x)


def make_model(optimizer, *layers, strategy=None):
    keras.utils.set_random_seed(1)
    with (strategy or tf.distribute.get_strategy()).scope():
        inputs = outputs = keras.Input((FEATURES,))
        for layer in (keras.layers.Dense(2), *layers):
            outputs = layer(outputs)
        model = SmallModel(inputs, outputs)
        model.compile(optimizer() if callable(optimizer) else optimizer, LOSS)
    return model


def scaled():
    return tfbert.LossScaleOptimizer(tfbert.LAMB(0.01, jit_compile=False), initial_scale=16.0)


def lines(caplog, text):
    return [r.getMessage() for r in caplog.records if text in r.getMessage()]


def test_overflow_without_end_is_said_once(two_replicas, caplog):
    model = make_model(scaled, NoGradient(), strategy=two_replicas)
    model.fit(X, Y, 8, epochs=12, verbose=0)  # 60 updates
    assert model.optimizer.skipped_steps.numpy() == 60
    (line,) = lines(caplog, OVERFLOW)
    assert "use bfloat16 or float32" in line


def test_with_a_recovery_it_has_diverged(tmp_path, caplog):
    model = make_model(scaled, NoGradient())
    with pytest.raises(
        Diverged, match=f"{OVERFLOW}; .*smallest loss scale; use bfloat16"
    ) as caught:
        model.fit(Batches(), epochs=40, verbose=0, recovery=tfbert.Recovery(str(tmp_path)))
    assert "\n" not in str(caught.value)
    assert model.optimizer.skipped_steps.numpy() < 60


def test_some_overflows_are_no_divergence(caplog):
    """At the smallest scale, with updates between them, and on the way down to it."""
    model = make_model(scaled)
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    optimizer.dynamic_scale.assign(1.0)
    watch = TrainingWatch(model).overflows
    assert watch.check(1) is None  # reads where it begins
    for _ in range(3):
        optimizer.skipped_steps.assign_add(49)
        assert watch.check(50) is None
    optimizer.skipped_steps.assign_add(19)
    assert watch.check(19, is_end=True) is None  # too few to say
    optimizer.skipped_steps.assign_add(1)
    assert OVERFLOW in watch.check(1, is_end=True)
    optimizer.dynamic_scale.assign(2.0)
    optimizer.skipped_steps.assign_add(50)
    assert watch.check(50) is None
    optimizer.dynamic_scale.assign(1.0)
    for step in range(50):
        optimizer.skipped_steps.assign_add(1)
        assert (watch.check(1) is not None) == (step == 49)


@pytest.mark.parametrize("recovers", [False, True])
@pytest.mark.parametrize(("rate", "count"), [(0.1, 0), (500.0, 1)])
def test_a_loss_far_above_its_beginning_is_said_once(rate, count, recovers, tmp_path, caplog):
    model = make_model(keras.optimizers.SGD(rate))
    recovery = tfbert.Recovery(str(tmp_path)) if recovers else None
    model.fit(Batches(), epochs=3, verbose=0, recovery=recovery)
    found = lines(caplog, "probably too high")
    assert len(found) == count
    if count:
        assert "the learning rate (500 now) is probably too high; try a tenth of it" in found[0]


def test_a_loss_that_is_nan_from_the_beginning_is_not_the_learning_rate(caplog):
    model = make_model(keras.optimizers.SGD(0.1))
    model.fit(X * float("nan"), Y, 8, epochs=2, verbose=0)
    (line,) = lines(caplog, "the loss is nan")
    assert "look for NaN or very large numbers in the data" in line
    assert "learning rate" not in line

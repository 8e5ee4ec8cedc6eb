"""A small model and data of its own, for the tests of recovery."""

import functools

import keras
import numpy as np

import tfbert
from tfbert.fit.trainer import DistributedTrainer
from tfbert.hardware.input_pipeline import ArraySpec, numbered_batches

ROWS, BATCH, FEATURES = 40, 8, 6
_random = np.random.default_rng(3)
X = _random.normal(size=(ROWS, FEATURES)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)


@keras.saving.register_keras_serializable("tests")
class SmallModel(DistributedTrainer, keras.Model):
    """A dense classifier with dropout."""


class Batches:
    """A `BatchSource` of X and Y in an order of each epoch's own.

    Args:
        bad: (epoch, step) of a batch that is full of NaN.
    """

    steps_per_epoch = ROWS // BATCH

    def __init__(self, bad=()):
        self.bad = bad

    def batch(self, epoch, step):
        order = np.random.default_rng((5, epoch)).permutation(ROWS)
        rows = order[step * BATCH : (step + 1) * BATCH]
        nan = np.float32(np.nan if (epoch, step) in self.bad else 0)
        return X[rows] + nan, Y[rows]

    def dataset(self, epoch, step):
        def make(number):
            return self.batch(*divmod(number, self.steps_per_epoch))

        signature = (ArraySpec((BATCH, FEATURES), "float32"), ArraySpec((BATCH,), "int32"))
        return numbered_batches(make, epoch * self.steps_per_epoch + step, None, signature)


@functools.cache
def _kept(strategy, options):
    """A model for `fresh_model`, and its values at the start."""
    model = make_model(strategy, **dict(options))
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    return model, [(v, v.numpy()) for v in [*model.variables, *model.optimizer.variables]]


def fresh_model(strategy=None, **options):
    """What a new process would have, without tracing anew: one model, with its first values."""
    model, values = _kept(strategy, tuple(options.items()))
    for variable, value in values:
        variable.assign(value)
    model.reset_metrics()
    return model


def make_model(strategy=None, optimizer=None, seed=11, dropout=0.3, **options):
    """A compiled `SmallModel`; dropout makes the order of updates count."""
    strategy = strategy or tfbert.get_strategy("cpu")
    keras.utils.set_random_seed(1)
    with strategy.scope():
        inputs = keras.Input((FEATURES,))
        hidden = keras.layers.Dense(5, activation="tanh", name="hidden")(inputs)
        hidden = keras.layers.Dropout(dropout, name="dropout")(hidden)
        model = SmallModel(inputs, keras.layers.Dense(2, name="logits")(hidden))
        model.compile(
            optimizer or tfbert.LAMB(0.02, jit_compile=False),  # quicker to trace
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
            seed=seed,
            **options,
        )
    return model

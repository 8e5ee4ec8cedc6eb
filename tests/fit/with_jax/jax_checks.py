"""KERAS_BACKEND=jax: what the engine does on two devices of a CPU.

`test_jax_training.py` runs it, with that backend.
"""

import math
import re

import keras
import numpy as np
import pytest
from helpers.small_distilled import compiled, distances_by_hand, masked_batch, small_student
from helpers.small_models import LINEAR_X, LINEAR_Y, Linear, make_linear

import tfbert
from tfbert.errors import InputError
from tfbert.hardware.strategies import get_strategy
from tfbert.models.formats.stock import copy_weights
from tfbert.records.batches import examples_of

assert keras.backend.backend() == "jax"

TWO = get_strategy("cpu", 2)
ONE = get_strategy("cpu", 1)
X, Y = LINEAR_X[:16], LINEAR_Y[:16]


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def linear(strategy, optimizer=None, metrics=None, **options):
    with strategy.scope():
        model = make_linear()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer or keras.optimizers.SGD(0.5), loss, metrics=metrics, **options)
    return model


def fit(model, *data, **options):
    """History of a fit in order, without a word."""
    return model.fit(*data, **{"shuffle": False, "verbose": 0, **options}).history


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


# ---- Devices


def test_devices_are_found_and_named(caplog):
    with caplog.at_level("INFO", "tfbert"):
        assert get_strategy("auto", 2) is get_strategy("mirrored", 2) is TWO
        assert get_strategy().num_replicas_in_sync == 1
    assert "devices: 2 CPU (JaxDevices)" in caplog.text and "devices: 1 CPU (one)" in caplog.text
    with pytest.raises(InputError, match="--replicas 3: JAX runs already with 2"):
        get_strategy("cpu", 3)
    with pytest.raises(InputError, match="--strategy tpu: no TPU can be reached"):
        get_strategy("tpu")
    with pytest.raises(InputError, match="TF_CONFIG names no workers"):
        get_strategy("multi_worker")
    model = linear(TWO)
    assert model.distribute_strategy is TWO
    with ONE.scope(), pytest.raises(ValueError, match="in which it was made"):
        model.compile("sgd", "mse")


# ---- One reduction an update, one compilation a shape


def collectives(accumulate, steps):
    """(number of elements, loops around it) of every all-reduce in the compiled train function."""
    options = {"accumulate_steps": accumulate, "steps_per_execution": steps}
    model = linear(TWO, tfbert.LAMB(1e-2), **options)
    batch = X[:8], Y[:8], np.linspace(0, 1, 8, dtype="float32")
    model._prepare(X, y=Y, sample_weight=np.ones(16), batch_size=8)
    program = model.make_train_function().lower([batch]).compile().as_text()
    found = []
    for line in program.splitlines():
        if " all-reduce(" in line or " all-reduce-start(" in line:
            shapes = re.findall(r"[a-z]+\d+\[([\d,]*)\]", line.split(" all-reduce")[0])
            size = sum(math.prod(map(int, filter(None, s.split(",")))) for s in shapes)
            found.append((size, re.search('op_name="([^"]*)"', line)[1].split("/").count("while")))
    return sorted(found)


@pytest.mark.parametrize("steps", [slow(1), 8])
def test_gradients_are_reduced_once_an_update(steps):
    found = collectives(4, steps)
    assert found == collectives(1, steps)
    # The kernel's 4 x 3 elements and the bias' 3 in one reduction; besides, numbers: two counts
    # of targets, the gradients' denominator, and sum and count of the loss.
    sizes, loops = zip(*found, strict=True)
    assert sum(size >= 15 for size in sizes) == 1
    assert len(sizes) <= 4 and sum(sizes) <= 15 + 5
    # In the loop over updates, not in that over micro-batches, where one would be run four times.
    assert max(loops) == (steps > 1)


def test_one_program_serves_all_numbers_of_steps():
    model = linear(TWO, steps_per_execution=3)
    fit(model, X, Y, batch_size=4, epochs=2)  # four steps an epoch: three, and one
    fit(model, X[:8], Y[:8], batch_size=4)
    assert model.train_function.compilations == 1
    model.evaluate(X, Y, 4, verbose=0)
    model.evaluate(X, Y, 4, verbose=0)
    assert model.test_function.compilations == 1
    for rows in (16, 15, 3):
        assert model.predict(X[:rows], 4, verbose=0).shape == (rows, 3)
    assert model.predict_function.compilations == 1


def test_a_teacher_is_given_to_the_program():
    """Not held in it as numbers, which would be compiled and kept once more."""
    with ONE.scope():
        model = compiled(small_student())
    inputs, targets, weights = examples_of(masked_batch()[0], 1.0)
    model._prepare(inputs, y=targets, sample_weight=weights, batch_size=8)
    for function in (model.make_train_function(), model.make_test_function()):
        _, (written, read) = function.program_of(None)
        taught = {id(variable) for variable in model.teacher.backbone.variables}
        assert taught <= {id(variable) for variable in read}
        assert not taught & {id(variable) for variable in written}
    options = {"batch_size": 8, "sample_weight": weights, "verbose": 0, "return_dict": True}
    logs = model.evaluate(inputs, targets, **options)
    expected = distances_by_hand(model, *masked_batch())
    found = logs["teacher_tokens_loss"], logs["teacher_sentences_loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ---- The same on one device and on two


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.1),
        slow(lambda: tfbert.LossScaleOptimizer(keras.optimizers.SGD(0.5))),
        slow(lambda: tfbert.AdamW(0.1, gradient_accumulation_steps=2)),
    ],
)
def test_batches_of_any_size_on_two_devices(optimizer):
    """16 rows in batches of 5: none can be divided among two devices."""
    one, two = linear(ONE, optimizer()), linear(TWO, optimizer())
    metrics = fit(one, X, Y, batch_size=5, epochs=2), fit(two, X, Y, batch_size=5, epochs=2)
    np.testing.assert_allclose(metrics[0]["loss"], metrics[1]["loss"], rtol=1e-5)
    fit(one, X, Y, batch_size=8)
    fit(two, X, Y, batch_size=8)
    np.testing.assert_allclose(weights(two), weights(one), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_metrics_that_need_the_whole_batch():
    class Largest(keras.metrics.Metric):
        """Of no sum: the largest logit."""

        def __init__(self):
            super().__init__(name="largest")
            self.largest = self.add_weight(name="largest", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.largest.assign(keras.ops.maximum(self.largest, keras.ops.max(y_pred)))

        def result(self):
            return self.largest.value

    model = linear(TWO, metrics=[Largest(), "accuracy"], accumulate_steps=2)
    logits = model.predict(X, verbose=0)
    for rows in (16, 13):
        scores = model.evaluate(X[:rows], Y[:rows], 8, verbose=0, return_dict=True)
        assert scores["largest"] == pytest.approx(logits[:rows].max(), rel=1e-5)
        assert scores["accuracy"] == pytest.approx((logits.argmax(-1) == Y)[:rows].mean())
    assert fit(model, X, Y, batch_size=16)["largest"] == pytest.approx([logits.max()], rel=1e-5)


# ---- Dropout


class Total(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.sum(y_pred, axis=-1)


def masks(seed):
    """(2 updates, 2 layers, 4 micro-batches, 4 x 64): which elements dropout kept.

    Each row has weights of its own, so that its gradient is its mask.
    """
    with TWO.scope():
        rows = keras.Input((), dtype="int32")
        kept = [
            keras.layers.Dropout(0.5)(keras.layers.Embedding(16, 64, "zeros", name=name)(rows))
            for name in ("a", "b")
        ]
        model = Linear(rows, keras.layers.Concatenate()(kept))
        loss = Total(reduction="sum")
        model.compile(keras.optimizers.SGD(1.0), loss, accumulate_steps=2, seed=seed)
    found = []
    for _ in range(2):
        before = [w.copy() for w in model.get_weights()]
        fit(model, np.arange(16), np.zeros(16), batch_size=16)
        changes = zip(model.get_weights(), before, strict=True)
        found.append([(after != old).reshape(4, -1) for after, old in changes])
    return np.array(found)


@pytest.mark.slow
def test_dropout_differs_by_update_layer_device_and_micro_batch_and_never_by_run():
    found = masks(1)
    assert 0.45 < found.mean() < 0.55
    flat = found.reshape(16, -1)
    assert len(np.unique(flat, axis=0)) == 16
    np.testing.assert_array_equal(masks(1), found)
    assert (masks(2) != found).mean() > 0.4


# ---- Variables


def test_what_the_loss_does_not_depend_on_is_left_alone():
    inputs = keras.Input((4,))
    both = keras.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(2)(inputs)])
    model = Linear(inputs, both(inputs)[0])
    model.compile(tfbert.LAMB(0.1, exclude_from_weight_decay=[]), "sparse_categorical_crossentropy")
    used, unused = both.layers[1:]
    before = [unused.get_weights(), used.get_weights()]
    fit(model, X, Y)
    np.testing.assert_array_equal(unused.get_weights()[0], before[0][0])
    assert (used.get_weights()[0] != before[1][0]).any()


def test_another_models_weights_live_on():
    """A program gives up the arrays of its arguments: none may be another variable's."""
    model, source, copy = linear(ONE), linear(TWO), linear(TWO)
    for ours, theirs in zip(model.weights, source.weights, strict=True):
        ours.assign(theirs)
    before = weights(source)
    fit(model, X, Y)
    trained = weights(model)
    copy_weights(model, copy)
    fit(model, X, Y)
    np.testing.assert_array_equal(weights(source), before)
    np.testing.assert_array_equal(weights(copy), trained)
    assert (weights(model) != trained).all()


# ---- Data


class Source:
    """A `BatchSource` over the 16 rows, four steps an epoch."""

    steps_per_epoch = 4

    def dataset(self, epoch, step):
        def batches(number=4 * epoch + step):
            while True:
                rows = slice(number % 4 * 4, number % 4 * 4 + 4)
                yield X[rows], Y[rows]
                number += 1

        return batches()


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, number):
        rows = slice(4 * number, 4 * number + 4)
        return X[rows], Y[rows]


def test_every_kind_of_data_trains_alike():
    model = linear(TWO)
    start = model.get_weights()

    def trained(*data, **options):
        model.set_weights(start)
        fit(model, *data, **options)
        return weights(model)

    expected = trained(X, Y, batch_size=4, epochs=2)
    batches = [Rows()[number] for number in range(4)]
    np.testing.assert_array_equal(trained(Source(), epochs=2), expected)
    np.testing.assert_array_equal(trained(Rows(workers=2), epochs=2), expected)
    endless = (batches[number % 4] for number in range(100))
    np.testing.assert_array_equal(trained(endless, steps_per_epoch=4, epochs=2), expected)
    sized = type("Sized", (), {"__len__": len, "__iter__": lambda self: iter(batches)})
    sized.__len__ = lambda self: 4
    np.testing.assert_array_equal(trained(sized(), epochs=2), expected)
    # From the middle on, and by class.
    later = trained(X[8:], Y[8:], batch_size=4)
    np.testing.assert_array_equal(trained(Source(), initial_step=2), later)
    by_class = {0: 0.5, 2: 3.0}
    by_row = np.array([by_class.get(label, 1.0) for label in Y], "float32")
    expected = trained(X, Y, batch_size=4, sample_weight=by_row)
    np.testing.assert_array_equal(trained(X, Y, batch_size=4, class_weight=by_class), expected)
    assert model.train_function.compilations == 2  # without weights, and with


def test_an_error_of_the_data_comes_out_where_it_is_read():
    def broken():
        yield X[:4], Y[:4]
        yield X[:4], Y[:4]
        yield X[:4], Y[:4]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        fit(linear(ONE), broken())
    with pytest.raises(ValueError, match="the data gave no batch"):
        fit(linear(ONE), X[:0], Y[:0])


@pytest.mark.slow
def test_single_batches_and_eager_steps():
    one, two = linear(ONE), linear(TWO, accumulate_steps=2)
    losses = one.train_on_batch(X, Y), two.train_on_batch(X, Y)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(one.test_on_batch(X, Y), two.test_on_batch(X, Y), rtol=1e-5)
    np.testing.assert_allclose(one.predict_on_batch(X[:3]), two.predict_on_batch(X[:3]), rtol=1e-5)
    eager = linear(TWO, run_eagerly=True)
    eager.train_on_batch(X, Y)
    np.testing.assert_allclose(weights(eager), weights(two), rtol=1e-5, atol=1e-6)

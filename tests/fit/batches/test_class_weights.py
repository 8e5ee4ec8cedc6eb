import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import BATCH, CLASSES, LINEAR_X, LINEAR_Y, make_linear

from tfbert.fit.batches.class_weights import checked_class_weights, with_class_weights
from tfbert.fit.batches.epoch_data import EpochData
from tfbert.hardware.strategies import get_strategy

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
WEIGHTS = {0: 1.0, 2: 5.0}


def compiled():
    model = make_linear()
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    return model


@pytest.fixture(scope="module")
def linear():
    return compiled()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"0": 1.0, "1": 5.0}, "'0' is not a class number: the keys are whole numbers"),
        ({0.5: 1.0}, "0.5 is not a class number"),
        ([1.0, 5.0], r"a dictionary such as .* not a list: dict\(enumerate\(weights\)\)"),
        (np.ones(2), "not a ndarray"),
        ("balanced", "not a str"),
        ({0: -1.0}, "-1.0 of class 0 is not a number from 0 on"),
        ({0: float("nan")}, "nan of class 0"),
        ({0: "5"}, "'5' of class 0"),
        ({0: None}, "None of class 0"),
        ({7: 1.0}, "there is no class 7: classes are 0 to 2"),
        ({-1: 1.0}, "there is no class -1"),
    ],
)
def test_what_is_no_weight_of_a_class_is_refused(given, message, linear):
    with pytest.raises(ValueError, match=f"^class_weight.*{message}"):
        checked_class_weights(given, linear)


def test_numbers_of_numpy_are_taken(linear):
    given = {np.int64(0): np.float32(1.5), 2: np.array(2)}
    assert checked_class_weights(given, linear) == {0: 1.5, 2: 2.0}
    one = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert checked_class_weights({0: 1, 1: 2}, one) == {0: 1.0, 1: 2.0}


def test_outputs_without_one_class_a_row_are_refused():
    inputs = keras.Input((4, 3))
    with pytest.raises(ValueError, match="one class a row, not outputs of the shape"):
        checked_class_weights(WEIGHTS, keras.Model(inputs, inputs + 1))
    with pytest.raises(ValueError, match="a model with one output"):
        checked_class_weights(WEIGHTS, keras.Model(inputs, [inputs + 1, inputs + 2]))


@pytest.mark.parametrize(
    "targets",
    [
        [0, 1, 2, 3],
        [[0], [1], [2], [3]],
        [0.0, 1.0, 2.0, 3.0],
        np.eye(4, dtype=np.float32),
        np.eye(4, dtype=np.int32),
    ],
    ids=["(rows,)", "(rows, 1)", "float", "one-hot", "one-hot of integers"],
)
def test_targets_of_every_form(targets):
    dataset = tf.data.Dataset.from_tensors((np.zeros((4, 1)), np.array(targets)))
    ((_, _, weights),) = with_class_weights(dataset, WEIGHTS)
    assert weights.numpy().tolist() == [1.0, 1.0, 5.0, 1.0]


def test_data_that_takes_no_class_weights_is_refused():
    rows = tf.zeros((2,))
    for parts, message in (
        (rows, "needs targets"),
        ((rows, rows, rows), "cannot both weigh a row"),
        ((rows, {"a": rows, "b": rows}), "a model with one output"),
        ((rows, tf.zeros((2, 3, 4))), "one class a row"),
    ):
        with pytest.raises(ValueError, match=f"class_weight.*{message}"):
            with_class_weights(tf.data.Dataset.from_tensors(parts), WEIGHTS)


class Source:
    steps_per_epoch = 1

    def dataset(self, epoch, step):
        return tf.data.Dataset.from_tensors((LINEAR_X, LINEAR_Y)).repeat()


def generator():
    yield LINEAR_X, LINEAR_Y


class Sequence(keras.utils.PyDataset):
    num_batches = 1

    def __getitem__(self, index):
        return LINEAR_X, LINEAR_Y


@pytest.mark.parametrize(
    "data",
    [
        lambda: {"x": LINEAR_X, "y": LINEAR_Y, "batch_size": len(LINEAR_Y)},
        lambda: {"x": tf.data.Dataset.from_tensors((LINEAR_X, LINEAR_Y))},
        lambda: {"x": generator()},
        lambda: {"x": Sequence()},
        lambda: {"x": Source()},
    ],
    ids=["arrays", "tf.data", "generator", "PyDataset", "BatchSource"],
)
def test_every_kind_of_data_is_weighed(data):
    batches = EpochData(get_strategy("cpu"), **data(), class_weight=WEIGHTS)
    _, y, weights = next(next(batches.executions(1)).iterator)
    assert len(y) == len(LINEAR_Y)
    expected = np.where(y == 2, 5.0, 1.0)
    np.testing.assert_array_equal(weights, expected)


def test_training_with_them_is_training_with_sample_weights():
    one, other = compiled(), compiled()
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    one.fit(LINEAR_X, LINEAR_Y, class_weight=WEIGHTS, **options)
    weights = np.where(LINEAR_Y == 2, 5.0, 1.0).astype(np.float32)
    other.fit(LINEAR_X, LINEAR_Y, sample_weight=weights, **options)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(one.get_weights()[1]) == CLASSES
    with pytest.raises(ValueError, match="cannot both weigh a row"):
        one.train_on_batch(LINEAR_X, LINEAR_Y, weights, class_weight=WEIGHTS)
    with pytest.raises(ValueError, match="'0' is not a class number"):
        one.fit(LINEAR_X, LINEAR_Y, class_weight={"0": 1.0}, **options)

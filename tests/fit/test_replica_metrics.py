"""Metrics on two replicas are what Keras counts itself, batch by batch, on one."""

import inspect
import json

import keras
import numpy as np
import pytest
from helpers.processes import finish, free_ports, start
from helpers.small_models import CLASSES, LINEAR_X, LINEAR_Y, Linear, make_linear

from tfbert.hardware.strategies import get_strategy
from tfbert.recovery.snapshot import HostCopy, assign_some, state_variables

ROWS, BATCH = 35, 8  # the last batch has three rows, two of them on the first replica
RANDOM = np.random.default_rng(4)


def positive(*shape):
    return RANDOM.uniform(0.05, 0.95, shape).astype(np.float32)


CLASS_IDS = RANDOM.integers(0, CLASSES, ROWS).astype(np.int32)
# kind of output: (targets, outputs)
DATA = {
    "binary": (RANDOM.integers(0, 2, (ROWS, 1)).astype(np.float32), positive(ROWS, 1)),
    "ids": (CLASS_IDS[:, None].astype(np.float32), RANDOM.integers(0, CLASSES, (ROWS, 1)) * 1.0),
    "numbers": (positive(ROWS, CLASSES), positive(ROWS, CLASSES)),
    "one_hot": (np.eye(CLASSES, dtype=np.float32)[CLASS_IDS], positive(ROWS, CLASSES)),
    "sparse": (CLASS_IDS, positive(ROWS, CLASSES)),
}
K = keras.metrics
# Every class of keras.metrics: (kind of output, arguments); None where `compile` takes it not.
TABLE = {
    K.Accuracy: ("ids", {}),
    K.AUC: ("binary", {}),
    K.BinaryAccuracy: ("binary", {}),
    K.BinaryCrossentropy: ("binary", {}),
    K.BinaryIoU: ("binary", {}),
    K.CategoricalAccuracy: ("one_hot", {}),
    K.CategoricalCrossentropy: ("one_hot", {}),
    K.CategoricalHinge: ("one_hot", {}),
    K.ConcordanceCorrelation: ("numbers", {"axis": 0}),
    K.CosineSimilarity: ("numbers", {"axis": 0}),
    K.F1Score: ("one_hot", {}),
    K.FBetaScore: ("one_hot", {"beta": 2.0}),
    K.FalseNegatives: ("binary", {}),
    K.FalsePositives: ("binary", {}),
    K.Hinge: ("binary", {}),
    K.IoU: ("ids", {"num_classes": CLASSES, "target_class_ids": [1]}),
    K.KLDivergence: ("numbers", {}),
    K.LogCoshError: ("numbers", {}),
    K.Mean: None,
    K.MeanAbsoluteError: ("numbers", {}),
    K.MeanAbsolutePercentageError: ("numbers", {}),
    K.MeanIoU: ("ids", {"num_classes": CLASSES}),
    K.MeanMetricWrapper: ("numbers", {"fn": lambda y, p: keras.ops.max(p - y)}),
    K.MeanSquaredError: ("numbers", {}),
    K.MeanSquaredLogarithmicError: ("numbers", {}),
    K.OneHotIoU: ("one_hot", {"num_classes": CLASSES, "target_class_ids": [1]}),
    K.OneHotMeanIoU: ("one_hot", {"num_classes": CLASSES}),
    K.PearsonCorrelation: ("numbers", {"axis": 0}),
    K.Poisson: ("numbers", {}),
    K.Precision: ("binary", {}),
    K.PrecisionAtRecall: ("binary", {"recall": 0.5}),
    K.R2Score: ("numbers", {}),
    K.Recall: ("binary", {}),
    K.RecallAtPrecision: ("binary", {"precision": 0.5}),
    K.RootMeanSquaredError: ("numbers", {}),
    K.SensitivityAtSpecificity: ("binary", {"specificity": 0.5}),
    K.SparseCategoricalAccuracy: ("sparse", {}),
    K.SparseCategoricalCrossentropy: ("sparse", {}),
    K.SparseTopKCategoricalAccuracy: ("sparse", {"k": 2}),
    K.SpecificityAtSensitivity: ("binary", {"sensitivity": 0.5}),
    K.SquaredHinge: ("binary", {}),
    K.Sum: None,
    K.TopKCategoricalAccuracy: ("one_hot", {"k": 2}),
    K.TrueNegatives: ("binary", {}),
    K.TruePositives: ("binary", {}),
}
NO_SUMS = {
    K.ConcordanceCorrelation,
    K.CosineSimilarity,
    K.MeanMetricWrapper,
    K.PearsonCorrelation,
}


def test_the_table_is_complete():
    classes = {c for c in vars(keras.metrics).values() if inspect.isclass(c)}
    assert {c for c in classes if issubclass(c, K.Metric)} == {*TABLE, K.Metric}


def metrics_of(classes):
    """{kind of output: [metric]}"""
    metrics = {kind: [] for kind in DATA}
    for metric_class in classes:
        kind, arguments = TABLE[metric_class]
        metrics[kind].append(metric_class(**arguments, name=metric_class.__name__))
    return metrics


def in_batches(metric, y, y_pred, rows=BATCH):
    """What Keras counts by itself."""
    for first in range(0, len(y), rows):
        metric.update_state(y[first : first + rows], y_pred[first : first + rows])
    return keras.ops.convert_to_numpy(metric.result())


@pytest.mark.parametrize("is_sum", [True, False], ids=["sums", "whole batches"])
def test_every_metric_of_keras(is_sum, two_replicas):
    classes = [c for c in TABLE if TABLE[c] and (c not in NO_SUMS) == is_sum]
    inputs = {kind: keras.Input(p.shape[1:], name=kind) for kind, (_, p) in DATA.items()}
    with two_replicas.scope():
        model = Linear(inputs, {kind: tensor * 1.0 for kind, tensor in inputs.items()})
        model.compile(loss={"numbers": "mse"}, metrics=metrics_of(classes))
    y = {kind: targets for kind, (targets, _) in DATA.items()}
    x = {kind: outputs for kind, (_, outputs) in DATA.items()}
    found = model.evaluate(x, y, BATCH, verbose=0, return_dict=True)
    for kind, metrics in metrics_of(classes).items():
        for metric in metrics:
            expected = in_batches(metric, *DATA[kind])
            name = f"{kind}_{metric.name}"
            assert np.isfinite(expected).all(), name
            np.testing.assert_allclose(found[name], expected, 2e-5, 1e-6, err_msg=name)


class Extreme(keras.metrics.Metric):
    """The largest or smallest output so far, by one's own class."""

    def __init__(self, of, start, **kwargs):
        super().__init__(**kwargs)
        self.of, self.start = of, start
        self.value = self.add_weight(initializer=keras.initializers.Constant(start), name="value")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(self.of(self.value, self.of(y_pred)))

    def result(self):
        return self.value

    def reset_state(self):
        self.value.assign(self.start)


def largest(value, other=None):
    return keras.ops.max(value) if other is None else keras.ops.maximum(value, other)


def smallest(value, other=None):
    return keras.ops.min(value) if other is None else keras.ops.minimum(value, other)


def own_metrics():
    return [
        Extreme(largest, -np.inf, name="largest"),
        Extreme(smallest, 100.0, name="smallest"),
        keras.metrics.PearsonCorrelation(axis=0, name="correlation"),
        keras.metrics.RootMeanSquaredError(name="error"),
    ]


X = RANDOM.normal(size=(ROWS, 4)).astype(np.float32)
Y = DATA["numbers"][0]


def fitted(strategy, **options):
    with strategy.scope():
        model = make_linear()
        model.compile(keras.optimizers.SGD(0.0), "mse", metrics=own_metrics(), **options)
    history = model.fit(X, Y, BATCH, shuffle=False, epochs=2, verbose=0)
    return model, history.history


def test_metrics_of_ones_own_see_the_whole_batch(two_replicas):
    """Over replicas and micro-batches, at an uneven end, and again in a second epoch."""
    for strategy, steps in ((two_replicas, 2), (get_strategy("cpu"), 3)):
        model, history = fitted(strategy, accumulate_steps=steps)
        outputs = model.predict(X, verbose=0)
        for metric in own_metrics():
            expected = float(in_batches(metric, Y, outputs))
            assert history[metric.name] == pytest.approx([expected] * 2, rel=2e-5), metric.name


@pytest.mark.slow
def test_metrics_of_ones_own_on_two_workers():
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes.append(start(["tests/fit/metrics_worker.py"], TF_CONFIG=json.dumps(cluster)))
    for process in processes:
        printed = finish(process, 200).splitlines()
        found = dict(json.loads(line) for line in printed if line.startswith("["))
        assert len(found) == 4
        for name, (first, second, expected) in found.items():
            assert [first, second] == pytest.approx([expected] * 2, rel=2e-5), name


def test_their_state_is_the_same_on_another_number_of_replicas(two_replicas):
    two, history = fitted(two_replicas)
    saved = {k: v.copy() for k, v in HostCopy().copy(state_variables(two)).items()}
    one, _ = fitted(get_strategy("cpu"))
    one.reset_metrics()
    assign_some(state_variables(one), saved)
    assert float(one.get_metrics_result()["smallest"]) == pytest.approx(history["smallest"][-1])


class WithOwnComputation(Linear):
    """`compute_metrics` of one's own, which needs the inputs."""

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if self.largest is not None:
            self.largest.update_state(None, x)
        self.mean.update_state(x)
        self.sum.update_state(x)
        return self.get_metrics_result()


@pytest.mark.parametrize("is_sum", [True, False], ids=["sums", "whole batches"])
def test_a_computation_of_ones_own_gets_the_inputs_as_well(is_sum, two_replicas):
    with two_replicas.scope():
        model = make_linear(WithOwnComputation)
        model.largest = None if is_sum else Extreme(largest, -np.inf, name="largest")
        model.mean, model.sum = keras.metrics.Mean(name="mean"), keras.metrics.Sum(name="sum")
        model.compile(loss="mse")
    found = model.evaluate(X, Y, BATCH, verbose=0, return_dict=True)
    assert found["sum"] == pytest.approx(X.sum(), rel=1e-5)
    assert found["mean"] == pytest.approx(X.mean(), rel=1e-5)
    assert found.get("largest", X.max()) == X.max()


class Measuring(keras.layers.Layer):
    """A layer with a metric of its own."""

    def __init__(self, metric, **kwargs):
        super().__init__(**kwargs)
        self.metric = metric

    def call(self, x):
        self.metric.update_state(None, x)
        return x


def test_a_layers_metric_that_cannot_be_known_is_refused(two_replicas):
    inputs = keras.Input((4,))
    with two_replicas.scope():
        measured = Measuring(Extreme(largest, 0.0, name="top"))(inputs)
        model = Linear(inputs, keras.layers.Dense(CLASSES)(measured))
        model.compile(loss="mse")
    with pytest.raises(ValueError, match="top: over several replicas a layer's Extreme cannot be"):
        model.evaluate(X, Y, verbose=0)


class DictMetric(keras.metrics.Mean):
    def result(self):
        return {"mean": super().result(), "twice": 2 * super().result()}

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred)


class CountMetric(keras.metrics.Metric):
    """A whole number beside the others' float32."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rows = self.add_weight(dtype="int64", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.rows.assign_add(keras.ops.cast(keras.ops.shape(y_pred)[0], "int64"))

    def result(self):
        return keras.ops.cast(self.rows, "float32")


def test_metrics_of_every_form(two_replicas):
    values = []
    for strategy in (get_strategy("cpu"), two_replicas):
        with strategy.scope():
            metrics = [DictMetric(), CountMetric(name="rows"), "accuracy"]
            model = make_linear()
            model.compile(loss="sparse_categorical_crossentropy", metrics=metrics)
        values.append(model.evaluate(LINEAR_X, LINEAR_Y, BATCH, verbose=0, return_dict=True))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert values[0]["rows"] == 33
    assert values[0]["twice"] == pytest.approx(2 * values[0]["mean"])

import csv

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from helpers.optimizer_table import scaled_or_not
from helpers.small_models import (
    BATCH,
    CLASSES,
    LINEAR_X,
    LINEAR_Y,
    Linear,
    example_arrays,
    make_classifier,
    make_linear,
)

import tfbert
from tfbert.hardware.strategies import get_strategy

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def linear(strategy=None, optimizer=None, **options):
    with (strategy or get_strategy("cpu")).scope():
        model = make_linear()
        optimizer = optimizer or keras.optimizers.SGD(0.1)
        options = {"loss": LOSS, "weighted_metrics": ["accuracy"], **options}
        model.compile(optimizer, **options)
    return model


def fit(model, **options):
    return model.fit(LINEAR_X, LINEAR_Y, **{"batch_size": BATCH, "verbose": 0, **options})


def updates_of(model):
    return int(model.optimizer.iterations.numpy())


class Recorder(keras.callbacks.Callback):
    """Every call with its arguments, numbers rounded."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def record(*args, logs=None):
            *args, logs = args if len(args) == 2 or not args else (*args, logs)
            logs = {} if logs is None or (args == [] and name.endswith("begin")) else logs
            values = {
                key: round(float(value), 5) for key, value in logs.items() if key != "outputs"
            }
            self.calls.append((name, *args, tuple(sorted(values.items()))))

        return record


def recorded_run(model, folder):
    """All calls and logs of fit, evaluate and predict, and what Keras' own callbacks wrote."""
    recorder, seen = Recorder(), []
    names_of_logs = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs)))
    )
    callbacks = [
        recorder,
        keras.callbacks.TensorBoard(folder / "logs", update_freq=1),
        keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True),
        keras.callbacks.EarlyStopping("loss", patience=1, min_delta=10.0),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        names_of_logs,
    ]
    validation = LINEAR_X, LINEAR_Y
    history = fit(model, epochs=4, shuffle=False, callbacks=callbacks, validation_data=validation)
    model.evaluate(LINEAR_X, LINEAR_Y, BATCH, verbose=0, callbacks=[recorder])
    model.predict(LINEAR_X, BATCH, verbose=0, callbacks=[recorder])
    rows = list(csv.DictReader((folder / "log.csv").open()))
    numbers = [[round(float(value), 4) for value in row.values()] for row in rows]
    points = [t for path in sorted((folder / "logs").rglob("events*")) for t in tags(path)]
    files = sorted(path.name for path in folder.glob("*.h5"))
    return recorder.calls, seen, numbers, points, files, sorted(history.history)


def tags(path):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            if value.tag != "keras":  # the layers, of models whose class is called Functional
                yield event.step, value.tag


def test_callbacks_hear_what_stock_fit_tells_them(tmp_path):
    """On one device, with SGD, so that both kinds of model take the same steps."""
    results = []
    for kind in ("stock", "ours"):
        model = linear()
        if kind == "stock":
            model = keras.Model(model.input, model.output)
        model.compile(keras.optimizers.SGD(0.1), LOSS, metrics=["accuracy"])
        (tmp_path / kind).mkdir()
        results.append(recorded_run(model, tmp_path / kind))
    stock, ours = results
    for one, other in zip(stock, ours, strict=True):
        assert one == other
    assert len(ours[4]) == 2  # early stopping ended both after two epochs


def test_callbacks_hear_of_the_last_of_several_steps():
    recorder = Recorder()
    model = linear(steps_per_execution=3)
    fit(model, callbacks=[recorder])
    ends = [call[1] for call in recorder.calls if call[0] == "on_train_batch_end"]
    assert ends == [2, 4]
    assert updates_of(model) == 5


def test_training_stops_at_once_where_a_callback_says_so():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = linear()
    fit(model, epochs=3, callbacks=[Stop()])
    assert updates_of(model) == 2


@pytest.mark.parametrize(
    ("cardinality", "steps_per_execution"),
    [
        ("known", 1),
        ("unknown", 4),
        pytest.param("known", 4, marks=pytest.mark.slow),
        pytest.param("unknown", 1, marks=pytest.mark.slow),
    ],
)
def test_data_that_ends_early_trains_on_all_of_it(steps_per_execution, cardinality, recwarn):
    dataset = tf.data.Dataset.from_tensor_slices((LINEAR_X, LINEAR_Y)).batch(BATCH)
    if cardinality == "unknown":
        dataset = dataset.filter(lambda *_: True)
    model = linear(get_strategy("cpu", 2), steps_per_execution=steps_per_execution)
    model.fit(dataset, epochs=2, verbose=0)
    assert updates_of(model) == 10
    model.fit(dataset, epochs=1, steps_per_epoch=7, verbose=0)
    assert updates_of(model) == 15
    assert any("the data ended after 5 of 7 steps" in str(w.message) for w in recwarn)


def test_an_epoch_goes_on_where_the_last_one_ended():
    batches = tf.data.Dataset.range(6).map(lambda i: (tf.fill([2, 1], float(i)), tf.zeros([2])))
    seen = []

    class Model(tfbert.DistributedTrainer, keras.Model):
        def call(self, x):
            tf.py_function(lambda x: seen.append(int(x[0, 0])), [x], [])
            return x[:, 0]

    model = Model()
    model.compile(loss="mse", run_eagerly=True)
    model.trainable = False
    model.evaluate(batches, steps=2, verbose=0)
    assert [n for n in seen if n] == [1]
    data = model._prepare(batches, steps=2)
    steps = [int(next(e.iterator)[0][0, 0]) for _ in range(3) for e in data.executions(1)]
    assert steps == [0, 1, 2, 3, 4, 5]


def test_empty_data_is_refused():
    model = linear()
    dataset = tf.data.Dataset.from_tensor_slices((LINEAR_X, LINEAR_Y)).take(0).batch(BATCH)
    with pytest.raises(ValueError, match="the data gave no batch"):
        model.fit(dataset, verbose=0)


def test_metrics_in_a_dict_are_counted_once():
    model = make_classifier()
    model.compile(loss=LOSS, metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")])
    model.evaluate(*example_arrays()[:2], verbose=0)
    assert [metric.name for metric in model.metrics] == ["loss", "compile_metrics"]


def test_a_saved_model_goes_on_as_compiled(tmp_path):
    """The arguments of ours, and the optimizer's state, come back from a .keras file."""
    inputs, labels, weights = example_arrays()
    options = {"batch_size": BATCH, "sample_weight": weights, "verbose": 0}
    model = make_classifier(dropout=0.1)
    settings = {"accumulate_steps": 2, "steps_per_execution": 5, "seed": 7}
    optimizer = tfbert.LAMB(1e-2, jit_compile=False)
    model.compile(optimizer, LOSS, weighted_metrics=["accuracy"], **settings)
    model.fit(inputs, labels, **options)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again, tfbert.BertClassifier)
    assert isinstance(again.optimizer, tfbert.LAMB)
    assert {name: getattr(again, name) for name in settings} == settings
    for each in (model, again):
        each.fit(inputs, labels, **options)
    for one, other in zip(model.variables, again.variables, strict=True):
        if "seed_generator" not in one.path:
            np.testing.assert_array_equal(one.numpy(), other.numpy())
    evaluation = again.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert evaluation.keys() == {"loss", "accuracy"}


def test_single_batches(two_replicas):
    inputs, labels, weights = LINEAR_X[:9], LINEAR_Y[:9], np.arange(9.0)
    one, two = linear(), linear(two_replicas)
    for method in ("test_on_batch", "train_on_batch"):
        values = [
            getattr(m, method)(inputs, labels, sample_weight=weights, return_dict=True)
            for m in (one, two)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-5)
    np.testing.assert_allclose(
        one.predict_on_batch(inputs), two.predict_on_batch(inputs), atol=1e-5
    )


def test_predictions_keep_the_order_and_any_structure(two_replicas):
    with two_replicas.scope():
        a, b = keras.Input((2,)), keras.Input((2,))
        one = Linear(a, {"twice": 2 * a, "sum": keras.ops.sum(a, 1)})
        one.compile()
        several = Linear([a, b], keras.layers.Add()([a, 10 * b]))
    rows = np.arange(22.0, dtype=np.float32).reshape(11, 2)
    for batch_size in (1, 3, 4, 11):
        outputs = one.predict(rows, batch_size, verbose=0)
        np.testing.assert_array_equal(outputs["twice"], 2 * rows)
        np.testing.assert_array_equal(outputs["sum"], rows.sum(1))
    np.testing.assert_array_equal(several.predict([rows, rows], 2, verbose=0), 11 * rows)
    dataset = tf.data.Dataset.from_tensor_slices(((rows, rows),)).batch(2)
    np.testing.assert_array_equal(several.predict(dataset, verbose=0), 11 * rows)


def test_float16_is_scaled_without_being_asked():
    model = make_classifier(dtype="mixed_float16")
    model.compile(tfbert.LAMB(), LOSS)
    assert isinstance(model.optimizer, tfbert.LossScaleOptimizer)
    model.compile(tfbert.LAMB(), LOSS, auto_scale_loss=False)
    assert isinstance(model.optimizer, tfbert.LAMB)
    with pytest.raises(ValueError, match="corrupts weights under a strategy"):
        model.compile(keras.optimizers.LossScaleOptimizer(tfbert.LAMB()), LOSS)


def test_layers_that_are_unfrozen_later_are_trained():
    inputs, labels, _ = example_arrays()
    model = make_classifier()
    table = model.backbone.token_embedding.embeddings
    before, optimizer = table.numpy(), tfbert.LAMB(1e-2, jit_compile=False)
    for trainable in (False, True):
        model.backbone.trainable = trainable
        model.compile(optimizer, LOSS)
        model.fit(inputs, labels, batch_size=BATCH, verbose=0)
        assert (table.numpy() != before).any() == trainable


@scaled_or_not
def test_a_second_model_needs_an_optimizer_of_its_own(wrap):
    """The folds of a cross-validation: the second one would not move, at the schedule's end."""
    schedule = tfbert.WarmupPolynomialDecay(0.1, 5)
    optimizer = wrap(tfbert.LAMB(schedule, jit_compile=False))
    first, second = linear(optimizer=optimizer), linear(optimizer=optimizer)
    fit(first)
    with pytest.raises(ValueError, match="lamb has trained another model, for 5 updates"):
        fit(second)
    fit(first)  # the first one may go on
    second.compile(type(optimizer).from_config(optimizer.get_config()), LOSS)
    before = second.get_weights()[0]
    fit(second)
    assert np.abs(second.get_weights()[0] - before).max() > 1e-3


@pytest.mark.parametrize("base", [keras.Model, keras.Sequential, keras_hub.models.BertBackbone])
def test_a_mixin_that_comes_too_late_is_refused(base):
    with pytest.raises(TypeError, match=r"class Late\(.*\): Keras' own fit would"):

        class Late(base, tfbert.DistributedTrainer):
            pass

    class Right(tfbert.DistributedTrainer, base):
        pass


@pytest.fixture
def float16_in_keras_json():
    """What `keras.json` may say, for one test."""
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("float16")
    keras.config.set_epsilon(0.1)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)


def test_keras_settings_stay_out_of_our_numbers(float16_in_keras_json, two_replicas):
    with two_replicas.scope():
        model = make_linear()
        optimizer = tfbert.LossScaleOptimizer(tfbert.LAMB(1e-5, jit_compile=False))
        model.compile(optimizer, "mse", metrics=["mae"])
    assert model.compute_dtype == "float16"  # a model of the user's own is the user's
    many = np.ones((5000, 4)), np.ones((5000, CLASSES))
    found = model.evaluate(*many, batch_size=2500, verbose=0, return_dict=True)
    dtypes = {v.dtype for v in [*model.metrics_variables, *model.optimizer.variables]}
    assert dtypes <= {"float32", "int32", "int64"}
    rate = tfbert.optimizers.loss_scale.innermost(model.optimizer)._learning_rate
    assert rate.numpy() == np.float32(1e-5)
    # More rows than float16 counts.
    error = np.abs(model.predict(many[0][:1], verbose=0).astype(np.float32) - 1)
    assert found["mae"] == pytest.approx(error.mean(), rel=2e-3)
    assert found["loss"] == pytest.approx((error**2).mean(), rel=2e-3)
    assert keras.config.floatx() == "float16"
    assert keras.config.epsilon() == 0.1


def test_prediction_needs_no_compilation_of_any_kind():
    model = make_classifier()
    assert model.predict(example_arrays()[0], verbose=0).shape == (33, CLASSES)
    assert model.jit_compile is False  # not even Keras' "auto", on a CPU


def test_backup_and_restore_goes_on(tmp_path):
    class Fails(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(epoch)
            if epoch == 2 and len(epochs) == 3:
                raise RuntimeError("stop")

    def train():
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        fit(model, epochs=4, callbacks=[backup, Fails()])

    epochs, model = [], linear()
    with pytest.raises(RuntimeError, match="stop"):
        train()
    train()
    assert epochs == [0, 1, 2, 2, 3]
    assert updates_of(model) == 20


class OwnStep(Linear):
    def train_step(self, data):
        raise AssertionError("never called")


@pytest.mark.parametrize("wrong", [0, 2.5, True])
@pytest.mark.parametrize("name", ["accumulate_steps", "steps_per_execution"])
def test_counts_that_are_none_are_refused(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be a whole number, at least 1: {wrong}"):
        linear(**{name: wrong})


def test_what_would_silently_go_wrong_is_refused(two_replicas):
    with pytest.raises(ValueError, match=r"give compile\(accumulate_steps=...\) instead"):
        linear(optimizer=tfbert.LAMB(gradient_accumulation_steps=2), accumulate_steps=2)
    averaging = {"use_ema": True, "ema_overwrite_frequency": 2}
    for options, message in (
        ({"gradient_accumulation_steps": 2}, r"SGD\(gradient_accumulation_steps=...\)"),
        (averaging, r"SGD\(ema_overwrite_frequency=...\) fails"),
    ):
        with two_replicas.scope():
            optimizer = keras.optimizers.SGD(**options)
        with pytest.raises(ValueError, match=message):
            linear(two_replicas, optimizer)
    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match=r"OwnStep.train_step would never be called"):
        OwnStep(inputs, keras.layers.Dense(CLASSES)(inputs)).compile()
    normalized = keras.layers.Dense(CLASSES)(keras.layers.BatchNormalization(name="norm")(inputs))
    model = Linear(inputs, normalized)
    model.compile(loss=LOSS, accumulate_steps=2)
    with pytest.raises(ValueError, match="norm: BatchNormalization would normalise each part"):
        fit(model)
    model = linear(accumulate_steps=2, loss=keras.losses.Dice())
    with pytest.raises(ValueError, match="dice is a ratio over the whole batch"):
        fit(model)
    model = linear()
    with two_replicas.scope(), pytest.raises(ValueError, match="in which it was made"):
        model.compile(loss=LOSS)

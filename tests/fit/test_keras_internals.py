"""The contract with Keras: each private name that the package leans on, and what it must do."""

import contextlib
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import example_arrays, make_classifier

from tfbert.fit import keras_internals

ON_THE_MODEL = [
    "_assert_compile_called",
    "_compile_loss",
    "_flatten_layers",
    "_flatten_metrics_in_order",
    "_initial_epoch",
    "_layers",
    "_loss_tracker",
    "_resolve_auto_jit_compile",
    "_should_eval",
    "_symbolic_build",
]
ON_THE_OPTIMIZER = [
    "_backend_apply_gradients",
    "_filter_empty_gradients",
    "_get_current_learning_rate",
    "_iterations",
    "_overwrite_model_variables_with_average_value",
    "_trainable_variables",
]


@pytest.fixture(scope="module")
def stock():
    classifier = make_classifier(dropout=0.1)
    model = keras.Model(classifier.input, classifier.output)
    model.compile(keras.optimizers.SGD(), keras.losses.SparseCategoricalCrossentropy())
    return model


@pytest.mark.parametrize("name", ON_THE_MODEL)
def test_a_model_still_has(stock, name):
    assert hasattr(stock, name), f"keras.Model has no {name} any more: Keras {keras.__version__}"


@pytest.mark.parametrize("name", ON_THE_OPTIMIZER)
def test_an_optimizer_still_has(stock, name):
    assert hasattr(stock.optimizer, name), f"an optimizer has no {name} any more"


def test_every_function_of_the_module_is_tested_here():
    functions = {name for name, value in vars(keras_internals).items() if inspect.isfunction(value)}
    source = inspect.getsource(inspect.getmodule(test_every_function_of_the_module_is_tested_here))
    assert {name for name in functions if f"keras_internals.{name}(" not in source} == set()


def test_the_data_adapter_gives_batches_and_their_number():
    inputs, labels, _ = example_arrays()
    adapter = keras_internals.data_adapter(x=inputs, y=labels, batch_size=8)
    assert adapter.num_batches == 5
    adapter.on_epoch_begin()
    batches = list(adapter.get_tf_dataset())
    adapter.on_epoch_end()
    assert [len(y) for _, y in batches] == [8, 8, 8, 8, 1]


def test_layers_and_seed_generators(stock):
    layers = keras_internals.all_layers(stock)
    assert stock in layers
    assert {"transformer_layer_0", "logits"} <= {layer.name for layer in layers}
    places = [place for place, _ in keras_internals.seed_generators(stock)]
    assert len(places) == len(set(places)) == 5
    for _, generator in keras_internals.seed_generators(stock):
        assert isinstance(generator, keras.random.SeedGenerator)


def test_building_makes_every_variable():
    classifier = make_classifier()
    model = keras.Model(classifier.input, classifier.output)
    model.compile(keras.optimizers.SGD(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    spec = (
        {name: keras.KerasTensor((None, 12), "int32") for name in model.input},
        keras.KerasTensor((None,), "int32"),
    )
    keras_internals.build_from_spec(model, spec)
    assert model.optimizer.built
    assert len(model.metrics_variables) == 4
    assert [term.path for term in keras_internals.loss_terms(model)] == [()]
    assert keras_internals.loss_trackers(model) == []
    assert keras_internals.output_structure(model) is None
    assert keras_internals.total_loss_tracker(model) is model.metrics[0]


def test_several_outputs():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, {"a": inputs + 0, "b": 2 * inputs})
    model.compile(
        loss={"a": keras.losses.MeanSquaredError(), "b": keras.losses.MeanAbsoluteError()},
        loss_weights={"a": 1.0, "b": 3.0},
    )
    y = {name: keras.KerasTensor((None, 2)) for name in "ab"}
    keras_internals.build_from_spec(model, (keras.KerasTensor((None, 2)), y))
    terms = {
        term.path: (term.loss.name, term.loss_weights) for term in keras_internals.loss_terms(model)
    }
    assert terms == {("a",): ("mean_squared_error", 1.0), ("b",): ("mean_absolute_error", 3.0)}
    assert [t.name for t in keras_internals.loss_trackers(model)] == ["a_loss", "b_loss"]
    assert set(keras_internals.output_structure(model)) == {"a", "b"}


def test_small_questions(stock):
    class OwnLoss(keras.Model):
        def compute_loss(self, *args, **kwargs):
            return 0.0

        def test_step(self, data):
            return {}

    assert keras_internals.overridden_steps(OwnLoss()) == ["test_step"]
    assert keras_internals.overridden_steps(stock) == []
    assert keras_internals.overrides_compute_loss(OwnLoss())
    assert not keras_internals.overrides_compute_metrics(stock)

    class OwnMetrics(keras.Model):
        def compute_metrics(self, *args, **kwargs):
            return {}

    assert keras_internals.overrides_compute_metrics(OwnMetrics())
    assert not keras_internals.overrides_compute_loss(stock)
    assert keras_internals.supports_xla(stock)
    assert keras_internals.strategy_made_in(stock) is None
    assert keras_internals.should_evaluate(stock, 1, 2)
    assert not keras_internals.should_evaluate(stock, 0, 2)
    assert keras_internals.initial_epoch(stock) is None
    tensor = keras.layers.Embedding(3, 2, mask_zero=True)(np.array([[0, 1]]))
    assert np.array(keras_internals.keras_mask(tensor)).tolist() == [[False, True]]
    assert keras_internals.keras_mask(np.zeros(2)) is None


def test_metrics_of_layers_are_not_the_models_own():
    class Layer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.metrics.Mean()

        def call(self, x):
            return x

    layer, inputs = Layer(), keras.Input((2,))
    model = keras.Model(inputs, layer(inputs))
    model.compile(metrics=["mse"])
    own = keras_internals.own_metrics(model)
    assert layer.inner in model.metrics
    assert layer.inner not in own
    assert own == model.metrics[:2]


def test_a_variables_aggregation_can_be_set_later(two_replicas):
    with two_replicas.scope():
        variable = keras.metrics.Sum().variables[0]
    keras_internals.set_aggregation(variable, "only_first_replica")
    assert variable.aggregation == "only_first_replica"
    variable.assign(3.0)  # a sum would be divided among the replicas
    assert [float(part) for part in variable.value.values] == [3.0, 3.0]
    assert variable.numpy() == 3.0


def test_helpers_of_fit():
    (first, _, _), (last, _, _) = keras_internals.split_arrays((np.arange(10), None, None), 0.3)
    assert list(first) == list(range(7)) and list(last) == [7, 8, 9]
    one, two = keras.ops.ones((1, 2)), keras.ops.ones((2, 2))
    joined = keras_internals.as_numpy(keras_internals.ragged_concatenation([one, two]))
    assert isinstance(joined, np.ndarray) and joined.shape == (3, 2)
    assert keras_internals.pythonify_logs({"loss": keras.ops.ones(())}) == {"loss": 1.0}


def test_the_values_inside_of_a_stateless_scope():
    variable = keras.Variable(1.0)
    assert keras_internals.stateless_values() == {}
    with keras.StatelessScope():
        variable.assign(2.0)
        (value,) = keras_internals.stateless_values().values()
        assert float(value) == 2.0
    assert float(variable) == 1.0


def test_the_array_of_a_variable():
    variable = keras.Variable(np.zeros(2, "float32"))
    held = keras_internals.value_of(variable)
    assert held is keras_internals.value_of(variable)
    keras_internals.set_value(variable, held + 1)
    np.testing.assert_array_equal(variable, np.ones(2))


def test_the_data_sets_that_keras_knows():
    class Batches(keras.utils.PyDataset):
        def __getitem__(self, number):
            return np.full((2, 3), number), np.arange(2)

        def __len__(self):
            return 4

    for known in (Batches(), tf.data.Dataset.range(3)):
        assert keras_internals.is_known_dataset(known)
    for unknown in (range(3), np.zeros(3), [1]):
        assert not keras_internals.is_known_dataset(unknown)
    assert keras_internals.is_tf_dataset(tf.data.Dataset.range(3))
    assert not keras_internals.is_tf_dataset(Batches())
    adapter = keras_internals.data_adapter(x=Batches())
    x, _ = keras_internals.first_batch(adapter)
    np.testing.assert_array_equal(x, np.zeros((2, 3)))
    arrays = keras_internals.data_adapter(x=np.zeros((2, 3)))
    assert keras_internals.first_batch(arrays) is None


def test_a_weight_of_another_shape_takes_the_place_of_one(two_replicas):
    for scope in (contextlib.nullcontext(), two_replicas.scope()):
        with scope:
            model = make_classifier(dtype="mixed_bfloat16")
            layer = model.backbone.token_embedding
            old, count = layer.embeddings, len(model.trainable_variables)
            old.trainable = False
            value = np.arange(5 * 16, dtype=np.float32).reshape(5, 16)
            keras_internals.replace_weight(layer, "_embeddings", value)
        new = layer.embeddings
        assert (new.path, new.dtype, new.trainable) == (old.path, old.dtype, False)
        assert type(new.value) is type(old.value)
        np.testing.assert_array_equal(new.numpy(), value)
        assert len(model.trainable_variables) == count - 1
        assert [v.path for v in model.variables if v is new] == [old.path]
        assert not any(v is old for v in model.variables)
        new.trainable = True
        assert model.trainable_variables[0] is new

"""The encoder against KerasHub's; its dropout and recomputation; its files; freezing."""

import functools
import json
import pathlib

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from helpers.processes import finish, start
from helpers.small_encoder import (
    CONFIG,
    INPUTS,
    PROJECTION,
    assert_same_weights,
    distance,
    make_stock,
)

import tfbert
from tfbert.errors import InputError
from tfbert.models.encoder import (
    BertEncoder,
    copy_weights,
    freeze_lower_layers,
    from_stock,
    to_stock,
    weights_by_path,
)


def compute(model, training, inputs, projection):
    """Both outputs, and the gradients of a scalar of them by all trainable weights."""
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=training)
        outputs = {name: tf.cast(value, tf.float32) for name, value in outputs.items()}
        loss = tf.reduce_sum(outputs["sequence_output"] * projection)
        loss += tf.reduce_sum(outputs["pooled_output"])
    found = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return outputs, [tf.convert_to_tensor(g) for g in found]


def traced(model, jit_compile=False):
    """`compute` of a training step as a graph, for any number of rows and tokens."""
    signature = [
        {name: tf.TensorSpec((None, None), tf.int32) for name in INPUTS},
        tf.TensorSpec((None, None, CONFIG["hidden_dim"])),
    ]
    step = functools.partial(compute, model, True)
    return tf.function(step, signature, autograph=False, jit_compile=jit_compile)


def results(model, step=None, rows=6):
    """Arrays: outputs by name, gradients by path; of eager inference, unless a step is given."""
    step = step or functools.partial(compute, model, False)
    outputs, found = step(
        {name: tf.constant(values[:rows]) for name, values in INPUTS.items()},
        tf.constant(PROJECTION[:rows]),
    )
    return (
        {name: np.asarray(value) for name, value in outputs.items()},
        by_path(model, [np.float64(g) for g in found]),
    )


def by_path(model, gradients):
    return dict(zip([v.path for v in model.trainable_variables], gradients, strict=True))


@pytest.fixture(scope="module")
def stock():
    """With a rate of dropout: at 0 it takes another way, in which rows of padding differ."""
    return make_stock()


@pytest.fixture(scope="module")
def expected(stock):
    return results(stock)


def fixed_seeds(model):
    """Lets every generator return a seed of its own, the same in each call."""
    generators = [
        layer.seed_generator
        for layer in model._flatten_layers()
        if isinstance(layer, tfbert.Dropout)
    ]
    for number, generator in enumerate(generators):
        generator.next = lambda number=number: tf.constant([number, 5], tf.int64)
    return len(generators)


def dropping(**options):
    """An encoder of one layer with fixed masks."""
    encoder = from_stock(make_stock(num_layers=1, dropout=0.2), **options)
    assert fixed_seeds(encoder) == 1 + 3
    return encoder


@pytest.fixture(scope="module")
def plain():
    """(encoder, its traced step) with fixed masks."""
    encoder = dropping()
    return encoder, traced(encoder)


@pytest.fixture(scope="module")
def remade():
    """`plain` with recomputation."""
    encoder = dropping(rematerialize=True)
    return encoder, traced(encoder)


def assert_same_results(found, expected):
    for name, output in expected[0].items():
        np.testing.assert_allclose(found[0][name], output, rtol=1e-5, atol=1e-5)
    assert found[1].keys() == expected[1].keys()
    assert distance(found[1], expected[1]) < 1e-5


@pytest.mark.parametrize(
    ("jit_compile", "rematerialize"),
    [
        (False, False),
        pytest.param(False, True, marks=pytest.mark.slow),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(True, True, marks=pytest.mark.slow),
    ],
)
def test_outputs_and_gradients_are_the_stock_encoder_s(stock, expected, jit_compile, rematerialize):
    encoder = from_stock(stock, dropout=0.0, rematerialize=rematerialize)
    assert_same_results(results(encoder, traced(encoder, jit_compile)), expected)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_no_worse_than_the_stock_encoder(expected, dtype):
    stock = make_stock(dtype=dtype)

    def errors(model):
        outputs, gradients = results(model)
        difference = outputs["sequence_output"] - expected[0]["sequence_output"]
        return np.array([np.sqrt(np.mean(difference**2)), distance(gradients, expected[1])])

    # Rounding errors differ by chance: 15 % is room for it.
    assert (errors(from_stock(stock)) < 1.15 * errors(stock)).all()


def test_two_replicas(two_replicas, stock, expected):
    """Local sums of the halves add up to the gradients of the whole batch, outside of XLA."""
    with two_replicas.scope():
        encoder = from_stock(stock, dropout=0.0, rematerialize=True)

    @tf.function(autograph=False)
    def step():
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            first = 3 * int(tf.get_static_value(replica))
            rows = slice(first, first + 3)
            inputs = {name: tf.constant(values[rows]) for name, values in INPUTS.items()}
            return compute(encoder, True, inputs, PROJECTION[rows])[1]

        return two_replicas.run(on_replica)

    sums = [np.float64(sum(two_replicas.experimental_local_results(g))) for g in step()]
    assert distance(by_path(encoder, sums), expected[1]) < 1e-5


@pytest.mark.parametrize("jit_compile", [False, True])
def test_rematerialised_gradients_are_the_same_with_dropout(plain, remade, jit_compile):
    encoder, step = remade
    found = results(encoder, traced(encoder, True) if jit_compile else step)
    expected = results(*plain)
    assert_same_results(found, expected)
    without = results(to_stock(plain[0]))
    assert np.abs(expected[0]["sequence_output"] - without[0]["sequence_output"]).max() > 0.1


def test_dropout_gradients_are_those_of_the_masked_function(plain):
    """Finite differences in one direction, at fixed masks."""
    encoder, _ = plain
    _, found = results(*plain)
    random = np.random.default_rng(3)
    variables = weights_by_path(encoder)
    before = {k: np.float64(v) for k, v in variables.items()}
    direction = {k: random.normal(size=v.shape) for k, v in before.items()}

    def loss(step):
        for path, variable in variables.items():
            variable.assign(before[path] + step * direction[path])
        outputs = {name: np.float64(value) for name, value in results(*plain)[0].items()}
        return np.sum(outputs["sequence_output"] * PROJECTION) + np.sum(outputs["pooled_output"])

    difference = loss(1e-3) - loss(-1e-3)
    loss(0)  # which puts the weights back
    slope = sum(np.sum(found[k] * direction[k]) for k in found)
    assert difference / 2e-3 == pytest.approx(slope, rel=5e-3)


def test_rematerialisation_waits_for_the_backward_pass(remade):
    """What is computed again, masks included, depends on gradients: so it cannot be kept."""
    operations = remade[1].get_concrete_function().graph.get_operations()
    (last,) = [operation for operation in operations if operation.type == "Tanh"]  # the pooler's
    for kind, forward, again in (
        ("Softmax", 1, 1),
        # Each draw is two operations: one scrambles the seed.
        ("StatelessRandomUniformFullIntV2", 2 * (1 + 3), 2 * 3),
    ):
        after = [last in ancestors(operation) for operation in operations if operation.type == kind]
        assert (after.count(False), after.count(True)) == (forward, again), kind


def ancestors(operation):
    """All operations that an operation waits for."""
    found, todo = set(), [operation]
    while todo:
        new = {tensor.op for tensor in todo.pop().inputs} - found
        found |= new
        todo += new
    return found


def test_a_batch_without_rows(plain, remade):
    for encoder, step in (plain, remade):
        outputs, gradients = results(encoder, step, rows=0)
        assert outputs["sequence_output"].shape == (0, 17, 32)
        assert not any(gradient.any() for gradient in gradients.values())


def test_paths_shapes_and_attributes_are_the_stock_encoder_s(stock):
    encoder = BertEncoder(**CONFIG)
    ours, theirs = weights_by_path(encoder), weights_by_path(stock)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert len(ours) == 5 + 16 * 2 + 2
    assert isinstance(encoder, keras_hub.models.BertBackbone)
    theirs = {k: v for k, v in stock.get_config().items() if k != "name"}
    assert encoder.get_config().items() >= theirs.items()
    task = keras_hub.models.BertTextClassifier(encoder, num_classes=2, preprocessor=None)
    assert task(INPUTS).shape == (6, 2)


def test_weights_go_to_stock_and_back_bit_for_bit(stock, tmp_path):
    encoder = from_stock(stock, dtype="mixed_bfloat16", rematerialize=True)
    exported = to_stock(encoder, dtype="float32")
    assert type(exported) is keras_hub.models.BertBackbone
    assert (exported.dropout, exported.dtype_policy.name) == (0.1, "float32")
    back = from_stock(exported)
    assert not back.rematerialize
    other = BertEncoder(**CONFIG)
    stock.save_weights(tmp_path / "stock.weights.h5")
    other.load_weights(tmp_path / "stock.weights.h5")
    for model in (encoder, exported, back, other):
        assert_same_weights(model, stock)
    shallow = BertEncoder(**{**CONFIG, "num_layers": 1})
    with pytest.raises(ValueError, match=r"only one of the models has .*transformer_layer_1/"):
        copy_weights(stock, shallow)


def test_keras_files_hold_our_class_and_presets_the_stock_one(stock, tmp_path):
    encoder = from_stock(stock, rematerialize=True, dtype="mixed_bfloat16")
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    assert type(loaded) is BertEncoder
    assert loaded.rematerialize and loaded.transformer_layers[0].rematerialize
    for name, output in encoder(INPUTS).items():
        np.testing.assert_array_equal(loaded(INPUTS)[name], output)

    preset = str(tmp_path / "preset")
    encoder.save_to_preset(preset)
    plain = keras_hub.models.Backbone.from_preset(preset)
    assert type(plain) is keras_hub.models.BertBackbone
    opened = BertEncoder.from_preset(preset, dtype="float32", rematerialize=True)
    assert type(opened) is BertEncoder and opened.rematerialize
    assert_same_weights(plain, encoder)
    assert_same_weights(opened, encoder)


def test_frozen_layers_get_no_gradient_and_keep_the_others_right(stock, expected):
    encoder = from_stock(stock)
    freeze_lower_layers(encoder, 0)
    assert not encoder.non_trainable_weights
    freeze_lower_layers(encoder, 1)
    _, found = results(encoder)
    assert {path.split("/")[0] for path in found} == {"transformer_layer_1", "pooled_dense"}
    assert distance(found, {k: expected[1][k] for k in found}) < 1e-5
    with pytest.raises(InputError, match="--freeze-layers 3: the model has only 2 layers"):
        freeze_lower_layers(encoder, 3)


def test_a_frozen_part_without_dropout_computes_as_in_an_evaluation(stock):
    encoder = from_stock(stock, dropout=0.5)
    freeze_lower_layers(encoder, 2, dropout=False)
    expected = encoder(INPUTS)["sequence_output"]
    np.testing.assert_array_equal(encoder(INPUTS, training=True)["sequence_output"], expected)
    freeze_lower_layers(encoder, 2)
    assert not np.array_equal(encoder(INPUTS, training=True)["sequence_output"], expected)
    with pytest.raises(InputError, match="dropout cannot be left out of a stock encoder"):
        freeze_lower_layers(to_stock(encoder), 1, dropout=False)


def run_script(name, **environment):
    """The lines that a script of this folder prints, in a process of its own."""
    return finish(start([pathlib.Path(__file__).with_name(name)], **environment), 240).splitlines()


def test_a_step_traces_in_tpustrategy():
    result = json.loads(run_script("encoder_tpu.py")[-1])
    # No XLA calls of ours: TPUs compile the whole step.
    expected = {"replicated": 1, "draws": 2 * (1 + 3), "softmaxes": 1, "calls": 0}
    assert result["False"] == expected
    assert result["True"] == {**expected, "draws": 2 * (1 + 3 + 3), "softmaxes": 2}


@pytest.mark.slow
def test_jax_computes_the_same():
    pytest.importorskip("jax")
    lines = run_script("encoder_jax.py", KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    assert lines == ["stock", "dropout", "rematerialisation", "fit"]

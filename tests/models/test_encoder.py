import json
import pathlib

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from helpers.processes import finish, start

import tfbert
from tfbert.models.encoder import (
    BertEncoder,
    copy_weights,
    freeze_lower_layers,
    from_stock,
    to_stock,
    weights_by_path,
)

CONFIG = {
    "vocabulary_size": 90,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 64,
    "max_sequence_length": 24,
}
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(5, 90, (6, 17)).astype("int32")
LENGTHS = np.array([17, 1, 9, 16, 0, 17])  # one row is padding only
INPUTS = {
    "token_ids": IDS,
    "segment_ids": (IDS % 2).astype("int32"),
    "padding_mask": (np.arange(17) < LENGTHS[:, None]).astype("int32"),
}
PROJECTION = RANDOM.normal(size=(6, 17, 32)).astype("float32")


def make_stock(dropout=0.0, dtype="float32"):
    """A stock encoder whose biases and norms are away from their initial values."""
    keras.utils.set_random_seed(1)
    stock = keras_hub.models.BertBackbone(**CONFIG, dropout=dropout, dtype=dtype)
    random = np.random.default_rng(1)
    for variable in weights_by_path(stock).values():
        noise = 0.1 * random.normal(size=variable.shape)
        variable.assign(np.asarray(variable) + noise)
    return stock


def gradients(model, training=False, jit_compile=False):
    """Both outputs and the gradient of a scalar of them, by path."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def compute(inputs):
        with tf.GradientTape() as tape:
            outputs = {
                k: tf.cast(v, tf.float32) for k, v in model(inputs, training=training).items()
            }
            loss = tf.reduce_sum(outputs["sequence_output"] * PROJECTION)
            loss += tf.reduce_sum(outputs["pooled_output"])
        values = [v.value for v in model.trainable_variables]
        found = tape.gradient(loss, values)
        return outputs, [tf.convert_to_tensor(g) for g in found]

    outputs, found = compute({k: tf.constant(v) for k, v in INPUTS.items()})
    paths = [v.path for v in model.trainable_variables]
    return (
        {k: np.asarray(v) for k, v in outputs.items()},
        {k: np.float64(g) for k, g in zip(paths, found, strict=True)},
    )


def distance(a, b):
    """Relative distance of all gradients together."""
    return np.sqrt(sum(np.sum((a[k] - b[k]) ** 2) for k in b) / sum(np.sum(b[k] ** 2) for k in b))


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"rematerialize": True}])
def test_outputs_and_gradients_are_the_stock_encoder_s(options):
    # Without dropout the stock layer takes another way, in which rows of padding differ.
    stock = make_stock(0.1)
    rematerialize = options.get("rematerialize", False)
    encoder = from_stock(stock, dropout=0.0, rematerialize=rematerialize)
    expected, expected_gradients = gradients(stock)
    outputs, found = gradients(encoder, True, options.get("jit_compile", False))
    for name, output in outputs.items():
        np.testing.assert_allclose(output, expected[name], rtol=1e-5, atol=1e-5)
    assert found.keys() == expected_gradients.keys()
    assert distance(found, expected_gradients) < 1e-5


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_no_worse_than_the_stock_encoder(dtype):
    truth_outputs, truth = gradients(make_stock(0.1))
    stock = make_stock(0.1, dtype)
    stock_outputs, stock_gradients = gradients(stock)
    outputs, found = gradients(from_stock(stock))

    def error(values):
        return np.sqrt(np.mean((values - truth_outputs["sequence_output"]) ** 2))

    # Rounding errors differ by chance: 15 % is room for it.
    assert error(outputs["sequence_output"]) < 1.15 * error(stock_outputs["sequence_output"])
    assert distance(found, truth) < 1.15 * distance(stock_gradients, truth)


def test_paths_shapes_and_attributes_are_the_stock_encoder_s():
    stock, encoder = make_stock(0.1), BertEncoder(**CONFIG)
    ours, theirs = weights_by_path(encoder), weights_by_path(stock)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert isinstance(encoder, keras_hub.models.BertBackbone)
    assert len(ours) == 5 + 16 * 2 + 2
    for name, value in stock.get_config().items():
        if name != "name":
            assert encoder.get_config()[name] == value, name


def test_weights_go_to_stock_and_back_bit_for_bit():
    encoder = from_stock(make_stock(0.1), dtype="mixed_bfloat16", rematerialize=True)
    stock = to_stock(encoder, dtype="float32")
    assert type(stock) is keras_hub.models.BertBackbone
    assert (stock.dropout, stock.dtype_policy.name) == (0.1, "float32")
    back = from_stock(stock)
    assert not back.rematerialize
    for path, variable in weights_by_path(encoder).items():
        np.testing.assert_array_equal(weights_by_path(stock)[path], variable)
        np.testing.assert_array_equal(weights_by_path(back)[path], variable)


def test_models_of_other_depth_are_not_copied():
    other = BertEncoder(**{**CONFIG, "num_layers": 1})
    with pytest.raises(ValueError, match=r"only one of the models has .*transformer_layer_1/"):
        copy_weights(make_stock(), other)


def test_weight_files_fit_both_ways(tmp_path):
    stock, encoder = make_stock(0.1), BertEncoder(**CONFIG)
    stock.save_weights(tmp_path / "stock.weights.h5")
    encoder.load_weights(tmp_path / "stock.weights.h5")
    for path, variable in weights_by_path(stock).items():
        np.testing.assert_array_equal(weights_by_path(encoder)[path], variable)


def test_config_and_keras_file_round_trip(tmp_path):
    encoder = from_stock(make_stock(0.1), rematerialize=True, dtype="mixed_bfloat16")
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    assert type(loaded) is BertEncoder
    assert loaded.rematerialize and loaded.transformer_layers[0].rematerialize
    for name, output in encoder(INPUTS).items():
        np.testing.assert_array_equal(loaded(INPUTS)[name], output)


def test_presets_hold_the_stock_class(tmp_path):
    encoder = from_stock(make_stock(0.1), dtype="mixed_bfloat16")
    encoder.save_to_preset(str(tmp_path / "preset"))
    stock = keras_hub.models.Backbone.from_preset(str(tmp_path / "preset"))
    assert type(stock) is keras_hub.models.BertBackbone
    opened = BertEncoder.from_preset(str(tmp_path / "preset"), dtype="float32", rematerialize=True)
    assert type(opened) is BertEncoder and opened.rematerialize
    for path, variable in weights_by_path(encoder).items():
        np.testing.assert_array_equal(weights_by_path(stock)[path], variable)
        np.testing.assert_array_equal(weights_by_path(opened)[path], variable)


def test_it_serves_in_a_stock_task():
    encoder = from_stock(make_stock())
    task = keras_hub.models.BertTextClassifier(encoder, num_classes=2, preprocessor=None)
    assert task(INPUTS).shape == (6, 2)


def fixed_seeds(model):
    """Lets every generator give a seed of its own, the same in each call."""
    generators = [
        layer.seed_generator
        for layer in model._flatten_layers()
        if isinstance(layer, tfbert.Dropout)
    ]
    for number, generator in enumerate(generators):
        generator.next = lambda number=number: tf.constant([number, 5], tf.int64)
    return len(generators)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_rematerialised_gradients_are_the_same_with_dropout(jit_compile):
    stock = make_stock(0.2)
    plain, remade = from_stock(stock), from_stock(stock, rematerialize=True)
    assert fixed_seeds(plain) == fixed_seeds(remade) == 1 + 2 * 3
    outputs, expected = gradients(plain, training=True)
    same, found = gradients(remade, training=True, jit_compile=jit_compile)
    np.testing.assert_allclose(
        same["sequence_output"], outputs["sequence_output"], rtol=1e-5, atol=1e-5
    )
    assert distance(found, expected) < 1e-5
    unlike, _ = gradients(to_stock(plain), training=False)
    assert np.abs(outputs["sequence_output"] - unlike["sequence_output"]).max() > 0.1


def test_dropout_gradients_are_those_of_the_masked_function():
    """Finite differences in one direction, at fixed masks."""
    encoder = from_stock(make_stock(0.2))
    fixed_seeds(encoder)
    _, found = gradients(encoder, training=True)
    random = np.random.default_rng(3)
    variables = weights_by_path(encoder)
    before = {k: np.float64(v) for k, v in variables.items()}
    direction = {k: random.normal(size=v.shape) for k, v in before.items()}
    losses = []
    for step in (-1e-3, 1e-3):
        for path, variable in variables.items():
            variable.assign(before[path] + step * direction[path])
        outputs, _ = gradients(encoder, training=True)
        losses.append(
            np.sum(np.float64(outputs["sequence_output"]) * PROJECTION)
            + np.sum(np.float64(outputs["pooled_output"]))
        )
    slope = sum(np.sum(found[k] * direction[k]) for k in found)
    assert (losses[1] - losses[0]) / 2e-3 == pytest.approx(slope, rel=5e-3)


def ancestors(operation):
    """All operations that an operation waits for."""
    found, todo = set(), [operation]
    while todo:
        for tensor in todo.pop().inputs:
            if tensor.op not in found:
                found.add(tensor.op)
                todo.append(tensor.op)
    return found


def test_rematerialisation_waits_for_the_backward_pass():
    """What is computed again, masks included, depends on gradients: so it cannot be kept."""
    encoder = from_stock(make_stock(0.1), rematerialize=True)

    @tf.function(autograph=False)
    def compute(inputs):
        with tf.GradientTape() as tape:
            outputs = encoder(inputs, training=True)["sequence_output"]
            # Squared, as the gradient of a linear loss would not wait for the forward pass.
            loss = tf.reduce_sum(tf.square(tf.identity(outputs, name="last_of_forward")))
        return tape.gradient(loss, [v.value for v in encoder.transformer_layers[0].weights])

    specs = {k: tf.TensorSpec(v.shape, v.dtype) for k, v in INPUTS.items()}
    graph = compute.get_concrete_function(specs).graph
    last = graph.get_operation_by_name("last_of_forward")
    layers, draws = CONFIG["num_layers"], 3 * CONFIG["num_layers"]
    for kind, forward, again in (
        ("Softmax", layers, layers),
        ("StatelessRandomUniformFullIntV2", 2 * (1 + draws), 2 * draws),
    ):
        operations = [operation for operation in graph.get_operations() if operation.type == kind]
        after = [last in ancestors(operation) for operation in operations]
        assert (after.count(False), after.count(True)) == (forward, again), kind


def test_two_replicas(two_replicas):
    """Local sums of the halves add up to the gradients of the whole batch, outside of XLA."""
    stock = make_stock(0.1)
    _, expected = gradients(from_stock(stock, dropout=0.0))
    with two_replicas.scope():
        encoder = from_stock(stock, dropout=0.0, rematerialize=True)

    @tf.function(autograph=False)
    def compute():
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            rows = slice(3 * int(tf.get_static_value(replica)), None)
            part = {k: tf.constant(v[rows][:3]) for k, v in INPUTS.items()}
            with tf.GradientTape() as tape:
                outputs = encoder(part, training=True)
                loss = tf.reduce_sum(outputs["sequence_output"] * PROJECTION[rows][:3])
                loss += tf.reduce_sum(outputs["pooled_output"])
            found = tape.gradient(loss, [v.value for v in encoder.trainable_variables])
            return [tf.convert_to_tensor(g) for g in found]

        return two_replicas.run(on_replica)

    sums = [np.float64(sum(two_replicas.experimental_local_results(g))) for g in compute()]
    paths = [v.path for v in encoder.trainable_variables]
    assert distance(dict(zip(paths, sums, strict=True)), expected) < 1e-5


def test_frozen_layers_get_no_gradient_and_keep_the_others_right():
    stock = make_stock(0.1)
    encoder = from_stock(stock)
    freeze_lower_layers(encoder, 1)
    _, expected = gradients(stock)
    _, found = gradients(encoder)
    assert {path.split("/")[0] for path in found} == {"transformer_layer_1", "pooled_dense"}
    assert distance(found, {k: expected[k] for k in found}) < 1e-5


def test_a_batch_without_rows():
    encoder = from_stock(make_stock(0.1))
    empty = {k: tf.constant(v[:0]) for k, v in INPUTS.items()}
    for rematerialize in (False, True):
        encoder = from_stock(make_stock(0.1), rematerialize=rematerialize)
        compute = tf.function(lambda inputs, encoder=encoder: encoder(inputs, training=True))
        assert compute(empty)["sequence_output"].shape == (0, 17, 32)


def run_script(name, **environment):
    """What a script beside this file prints, in a process of its own."""
    return finish(start([pathlib.Path(__file__).with_name(name)], **environment), 240).splitlines()


def test_a_step_traces_in_tpustrategy():
    traced = json.loads(run_script("encoder_tpu.py")[-1])
    # Each draw is two operations: one scrambles the seed. No XLA calls of ours: TPUs compile all.
    expected = {"replicated": 1, "draws": 14, "softmaxes": 2, "calls": 0}
    assert traced["False"] == expected
    assert traced["True"] == {**expected, "draws": 14 + 12, "softmaxes": 4}


@pytest.mark.slow
def test_jax_gives_the_same():
    pytest.importorskip("jax")
    lines = run_script("encoder_jax.py", KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    assert lines == ["stock", "dropout", "rematerialisation", "fit"]

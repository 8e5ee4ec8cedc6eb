"""Outputs and gradients against KerasHub's; dropout and recomputation; other devices."""

import collections
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from helpers.encoder_steps import by_path, compute, fixed_seeds, results, traced
from helpers.fake_tpu_strategy import strategy_of_two_devices
from helpers.processes import finish, start
from helpers.small_encoder import CONFIG, INPUTS, PROJECTION, distance, make_stock

from tfbert.models.encoder import BertEncoder, from_stock, to_stock, weights_by_path


def dropping(**options):
    """(encoder of one layer with fixed masks, its traced step)."""
    encoder = from_stock(make_stock(num_layers=1, dropout=0.2), **options)
    assert fixed_seeds(encoder) == 1 + 3
    return encoder, traced(encoder)


@pytest.fixture(scope="module")
def plain():
    return dropping()


@pytest.fixture(scope="module")
def remade():
    return dropping(rematerialize=True)


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

    sums = [sum(two_replicas.experimental_local_results(g)) for g in step()]
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


@pytest.mark.parametrize("rematerialize", [False, True])
def test_a_step_traces_in_tpustrategy(two_cpu_devices, rematerialize):
    strategy = strategy_of_two_devices()
    with strategy.scope():
        encoder = BertEncoder(
            **{**CONFIG, "num_layers": 1}, rematerialize=rematerialize, dtype="mixed_bfloat16"
        )
    # As the training function does: a generator's state is the host's.
    fixed_seeds(encoder)

    @tf.function
    def step():
        inputs = {name: tf.constant(values) for name, values in INPUTS.items()}
        return strategy.run(lambda: compute(encoder, True, inputs, PROJECTION)[1])

    operations = step.get_concrete_function().graph.get_operations()
    types = collections.Counter(operation.type for operation in operations)
    assert types["TPUReplicateMetadata"] == 1
    assert types["StatelessRandomUniformFullIntV2"] == 2 * (1 + 3 + 3 * rematerialize)
    assert types["Softmax"] == 1 + rematerialize
    # No XLA calls of ours: TPUs compile the whole step.
    assert types["StatefulPartitionedCall"] + types["PartitionedCall"] == 0


@pytest.mark.slow
def test_jax_computes_the_same():
    pytest.importorskip("jax")
    script = pathlib.Path(__file__).parents[1] / "encoder_jax.py"
    process = start([script], KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    parts = ["stock", "dropout", "rematerialisation", "fused_attention", "choice", "fit"]
    assert finish(process, 240).split() == parts

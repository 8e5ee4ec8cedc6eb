"""Replicas: different data on each, the same weights on all, the same as on one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.fake_tpu_strategy import strategy_of_two_devices
from helpers.optimizer_table import (
    TABLE,
    make,
    random_arrays,
    relative_error,
    values_of,
    variables_of,
)
from helpers.optimizer_training import (
    built_in,
    fit,
    gradients_at,
    model_of,
    sum_of_two,
    train_on,
    train_on_one,
    update_of,
)

import tfbert
from tfbert.optimizers import reduction

slow = pytest.mark.slow


def check_copies(strategy, variables):
    for variable in variables:
        first, second = (v.numpy() for v in strategy.experimental_local_results(variable.value))
        np.testing.assert_array_equal(first, second)


# The sum comes before the rule, so a few rows stand for all.
ROWS = [("lamb", False), ("lamb-clipped", True), ("lars-clipped", False)]
OTHER_ROWS = [(row, False) for row in TABLE] + [("lars", True)]


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    ROWS + [pytest.param(*row, marks=slow) for row in OTHER_ROWS if row not in ROWS],
)
def test_two_replicas_are_one(two_replicas, name, jit_compile):
    options = {"jit_compile": jit_compile, "record_statistics": True}
    variables, optimizer = train_on(two_replicas, lambda: make(name, **options), 20)
    check_copies(two_replicas, [*variables.values(), *optimizer.variables])
    alone = make(name, **options)
    expected = train_on_one(alone, 20)
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6
    assert optimizer.iterations.numpy() == 20
    for path, ratio in alone.trust_ratios().items():
        assert tuple(optimizer.trust_ratios()[path]) == pytest.approx(tuple(ratio), rel=1e-4)


AVERAGED = {"use_ema": True, "ema_momentum": 0.5}


ALONE = [
    {"clipnorm": 0.5},
    {"clipvalue": 0.1},
    {**AVERAGED, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 4},
    {"loss_scale_factor": 128.0},
]
TOGETHER = [
    {"clipnorm": 0.5, "loss_scale_factor": 128.0, **AVERAGED, "ema_overwrite_frequency": 3},
    {"clipvalue": 0.1, "gradient_accumulation_steps": 4, **AVERAGED},
]


@pytest.mark.parametrize(
    "options", [*TOGETHER, *(pytest.param(o, marks=slow) for o in ALONE)], ids="-".join
)
def test_options_of_keras_base_on_two_replicas(two_replicas, options):
    variables, optimizer = train_on(two_replicas, lambda: make("lamb", **options), 12)
    check_copies(two_replicas, [*variables.values(), *optimizer.variables])
    expected = train_on_one(make("lamb", **options), 12)
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6
    if "use_ema" not in options:
        return
    averages = {k: values_of(optimizer.slots_of(v))["average"] for k, v in variables.items()}
    optimizer.finalize_variable_values(list(variables.values()))
    check_copies(two_replicas, variables.values())
    assert relative_error(values_of(variables), averages) == 0


# Two replicas whose gradients are orthogonal, and two whose gradients cancel.
ORTHOGONAL = ([10.0, 0.0], [0.0, 10.0])
OPPOSITE = ([10.0, 1.0], [-10.0, 1.0])


def clipped_gradient(strategy, optimizer_of, by_replica):
    """What an optimizer with rate 1 and the plain gradient as direction takes off the weights."""
    variables, optimizer = built_in(strategy, optimizer_of, {"kernel": np.zeros(2)})
    gradients = tf.constant(by_replica)
    update_of(strategy, optimizer, variables, lambda replica: [gradients[replica]])()
    return -variables["kernel"].numpy()


NORMS = [np.array([1.0, 1.0]) / np.sqrt(2), [0.0, 1.0]]
VALUES = [[1.0, 1.0], [0.0, 1.0]]
CLIPPINGS = [
    ({"max_grad_norm": 1.0}, {"global_clipnorm": 1.0}, NORMS),
    ({"clipnorm": 1.0}, {"clipnorm": 1.0}, NORMS),
    ({"clipvalue": 1.0}, {"clipvalue": 1.0}, VALUES),
]


def check_clipping(strategy, optimizer_of, expected):
    for by_replica, clipped in zip((ORTHOGONAL, OPPOSITE), expected, strict=True):
        got = clipped_gradient(strategy, optimizer_of, by_replica)
        np.testing.assert_allclose(got, clipped, atol=1e-6)


@pytest.mark.parametrize(("ours", "stock", "expected"), CLIPPINGS)
def test_clipping_sees_the_reduced_gradient(two_replicas, ours, stock, expected):
    """In our optimizers, and in Keras' own inside of our loss scaling."""
    options = {"exclude_from_layer_adaptation": ["."], "jit_compile": False, **ours}
    check_clipping(two_replicas, lambda: tfbert.LARS(1.0, 0.0, 0.0, **options), expected)

    def scaled():
        return tfbert.LossScaleOptimizer(keras.optimizers.SGD(1.0, **stock), initial_scale=1.0)

    check_clipping(two_replicas, scaled, expected)


@pytest.mark.xfail(reason="Keras clips by replica, before it reduces", strict=True)
@pytest.mark.parametrize(("ours", "stock", "expected"), CLIPPINGS[:2])
def test_clipping_with_stock_keras(two_replicas, ours, stock, expected):
    check_clipping(two_replicas, lambda: keras.optimizers.SGD(1.0, **stock), expected)


def test_local_sums_with_their_denominators(two_replicas):
    """3 examples on one replica, 5 on the other: the sum over replicas is divided by 8."""
    denominators = tf.constant([3.0, 5.0])
    variables, _ = train_on(two_replicas, lambda: make("lars"), 5, denominators=denominators)
    expected = train_on_one(
        make("lars"), 5, lambda step: {k: g / 8 for k, g in sum_of_two(step).items()}
    )
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6


def test_an_empty_tail_on_one_replica_and_on_both(two_replicas):
    def gradients_of(step, replica):
        return {k: g * (replica == 0) for k, g in gradients_at(step, 0).items()}

    def optimizer():
        return make("lars", weight_decay=0.0, momentum=0.0)

    variables, _ = train_on(two_replicas, optimizer, 2, gradients_of, tf.constant([1.0, 0.0]))
    expected = train_on_one(optimizer(), 2, lambda step: gradients_at(step, 0))
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6

    def nothing(step, replica):
        return {k: 0 * g for k, g in gradients_at(step, 0).items()}

    variables, _ = train_on(two_replicas, optimizer, 2, nothing, tf.constant([0.0, 0.0]))
    assert relative_error(values_of(variables), random_arrays(0)) == 0


def slices(rows, values, shape):
    parts = (tf.convert_to_tensor(x) for x in (values, rows, shape))
    return tf.IndexedSlices(*parts)


def test_densify_adds_up_rows_and_widens():
    sparse = slices([2, 0, 2], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [3, 2])
    np.testing.assert_array_equal(reduction.densify(sparse), [[3, 4], [0, 0], [6, 8]])
    assert reduction.densify(tf.ones(2, tf.bfloat16)).dtype == tf.float32


CLIPS = {"max_grad_norm": 1.0}
ACCUMULATES = {"gradient_accumulation_steps": 2}


@pytest.mark.parametrize(
    ("jit_compile", "options"),
    [(False, {}), (False, CLIPS | ACCUMULATES)]
    + [pytest.param(True, options, marks=slow) for options in ({}, CLIPS, ACCUMULATES)],
)
def test_sparse_gradients_are_dense_ones(two_replicas, jit_compile, options):
    """Repeated rows, others on each replica: norms, accumulators and sums are the dense ones."""
    rows = tf.constant([[0, 3, 3], [3, 1, 0]])
    values = np.random.RandomState(0).normal(size=(2, 3, 4)).astype("float32")
    dense = np.zeros((2, 5, 4), "float32")
    for replica in range(2):
        np.add.at(dense[replica], rows[replica].numpy(), values[replica])
    values, dense = tf.constant(values), tf.constant(dense)

    def train(gradient_of):
        variables, optimizer = built_in(
            two_replicas,
            lambda: make("lamb", jit_compile=jit_compile, **options),
            {"embeddings": np.ones((5, 4))},
        )
        update = update_of(two_replicas, optimizer, variables, lambda r: [gradient_of(r)])
        for _ in range(4):
            update()
        return variables["embeddings"].numpy()

    sparse = train(lambda replica: slices(rows[replica], values[replica], [5, 4]))
    # Two orders of summing the same three numbers.
    np.testing.assert_allclose(sparse, train(lambda replica: dense[replica]), rtol=2e-6)


@pytest.mark.parametrize(
    ("name", "jit_compile", "devices", "tolerance"),
    [
        ("lamb-clipped", False, 2, 1e-5),
        pytest.param("lamb-clipped", True, 2, 1e-5, marks=slow),
        pytest.param("lamb", True, 1, 1e-6, marks=slow),
    ],
)
def test_a_stock_fit_is_one_without_a_strategy(two_replicas, name, jit_compile, devices, tolerance):
    def trained(strategy, jit_compile):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            layers = [keras.layers.Dense(8, "relu"), keras.layers.LayerNormalization()]
            model = model_of(make(name, jit_compile=jit_compile), layers=layers)
        fit(model, 4, epochs=5)
        return {str(number): np.float64(v) for number, v in enumerate(model.get_weights())}

    strategy = two_replicas if devices == 2 else tf.distribute.OneDeviceStrategy("CPU:1")
    expected = trained(tf.distribute.get_strategy(), False)
    assert relative_error(trained(strategy, jit_compile), expected) < tolerance


def test_the_optimizer_belongs_into_the_scope(two_replicas):
    with two_replicas.scope():
        variables = list(variables_of(random_arrays(0)).values())
    with pytest.raises(ValueError, match=r"inside the strategy.scope\(\)"):
        make("lamb").build(variables)
    with two_replicas.scope():
        optimizer = make("lamb")
    optimizer.build(variables)  # outside of the scope, but it finds the strategy
    check_copies(two_replicas, optimizer.variables)
    with two_replicas.scope(), pytest.raises(ValueError, match=r"inside strategy.run"):
        optimizer.apply([tf.ones(v.shape) for v in variables])


def test_a_lazy_build_on_replicas_is_refused(two_replicas):
    with two_replicas.scope():
        variables = variables_of(random_arrays(0))
        for optimizer in (make("lamb"), tfbert.LossScaleOptimizer(make("lamb"))):
            update = update_of(two_replicas, optimizer, variables, lambda _, gradients: gradients)
            with pytest.raises(ValueError, match=r"call optimizer.build"):
                update([tf.ones(v.shape) for v in variables.values()])


def test_an_asynchronous_strategy_is_refused():
    strategy = tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"])
    with pytest.raises(ValueError, match="CentralStorageStrategy"):
        train_on(strategy, lambda: make("lamb"), 1)


def test_one_device_strategy():
    strategy = tf.distribute.OneDeviceStrategy("CPU:1")
    variables, _ = train_on(strategy, lambda: make("lamb", jit_compile=True), 5)
    expected = train_on_one(make("lamb"), 5, lambda step: gradients_at(step, 0))
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6


EVERYTHING = {
    "max_grad_norm": 1.0,
    "record_statistics": True,
    "use_ema": True,
    "ema_overwrite_frequency": 2,
    "gradient_accumulation_steps": 2,
}


@pytest.fixture(scope="module")
def fake_tpu(two_cpu_devices):
    return strategy_of_two_devices()


@pytest.mark.parametrize(
    "optimizer_of",
    [
        lambda: tfbert.LAMB(),
        lambda: tfbert.LAMB(**EVERYTHING),
        lambda: tfbert.LARS(),
        lambda: tfbert.LossScaleOptimizer(tfbert.LAMB(max_grad_norm=1.0)),
        lambda: tfbert.LossScaleOptimizer(keras.optimizers.Adam()),
    ],
    ids=["lamb", "lamb with everything", "lars", "loss scale", "loss scale of keras"],
)
def test_an_update_traces_in_tpustrategy(fake_tpu, optimizer_of):
    variables, optimizer = built_in(fake_tpu, optimizer_of)

    def gradients_of(replica):
        # The first is sparse, as an embedding's gradient is.
        others = [tf.ones(v.shape) for v in variables.values()][1:]
        return [slices([1, 1], tf.ones((2, 3)), [4, 3]), *others]

    update = update_of(fake_tpu, optimizer, variables, gradients_of)
    # Those of the graph itself: what stands in the branches of a condition is not looked at.
    operations = [o.type for o in update.get_concrete_function().graph.get_operations()]
    assert operations.count("TPUReplicateMetadata") == 1
    # One sum for each of the five variables, and not a second one outside of a condition.
    assert operations.count("CrossReplicaSum") == 5

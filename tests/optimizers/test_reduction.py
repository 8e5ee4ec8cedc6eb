"""Replicas: different data on each, the same weights on all, the same as on one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.fake_tpu_strategy import strategy_of_two_devices
from helpers.optimizer_table import (
    TABLE,
    apply,
    make,
    random_arrays,
    relative_error,
    values_of,
    variables_of,
)

import tfbert
from tfbert.optimizers import reduction


def gradients_at(step, replica):
    return random_arrays(1000 * step + replica)


def on_two(strategy, variables, optimizer, gradients_of, denominators=None):
    """A function of a list for each replica: traced once, one update with what each has there."""

    @tf.function
    def update(by_replica):
        def on_replica():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            options = {} if denominators is None else {"denominator": denominators[index]}
            optimizer.apply(gradients_of(by_replica, index), list(variables.values()), **options)

        strategy.run(on_replica)

    return update


def train_on_two(strategy, optimizer_of, steps, gradients_of=gradients_at, denominators=None):
    """Trains on two replicas, each with gradients of its own.

    Returns:
        Variables by path and the optimizer.
    """
    with strategy.scope():
        variables = variables_of(random_arrays(0))
        optimizer = optimizer_of()
        optimizer.build(list(variables.values()))

    def own(stacked, index):
        return [g[index] for g in stacked]

    update = on_two(strategy, variables, optimizer, own, denominators)
    for step in range(steps):
        pair = [gradients_of(step, replica) for replica in range(2)]
        update([tf.stack([g[k] for g in pair]) for k in variables])
    return variables, optimizer


def train_on_one(optimizer, steps, gradients_of):
    variables = variables_of(random_arrays(0))
    for step in range(steps):
        apply(optimizer, gradients_of(step), variables)
    return variables


def sum_of_two(step):
    one, two = gradients_at(step, 0), gradients_at(step, 1)
    return {k: one[k] + two[k] for k in one}


def check_copies(strategy, variables):
    for variable in variables:
        first, second = (v.numpy() for v in strategy.experimental_local_results(variable.value))
        np.testing.assert_array_equal(first, second)


# The sum comes before the rule, so a few rows stand for all.
ROWS = [("lamb", False), ("lamb-clipped", True), ("lars-clipped", False)]
OTHER_ROWS = [(row, False) for row in TABLE] + [("lars", True)]


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    ROWS + [pytest.param(*r, marks=pytest.mark.slow) for r in OTHER_ROWS if r not in ROWS],
)
def test_two_replicas_are_one(two_replicas, name, jit_compile):
    options = {"jit_compile": jit_compile, "record_statistics": True}
    variables, optimizer = train_on_two(two_replicas, lambda: make(name, **options), 20)
    check_copies(two_replicas, [*variables.values(), *optimizer.variables])
    alone = make(name, **options)
    expected = train_on_one(alone, 20, sum_of_two)
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6
    assert optimizer.iterations.numpy() == 20
    for path, ratio in alone.trust_ratios().items():
        assert tuple(optimizer.trust_ratios()[path]) == pytest.approx(tuple(ratio), rel=1e-4)


AVERAGED = {"use_ema": True, "ema_momentum": 0.5}


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.5, "loss_scale_factor": 128.0, **AVERAGED, "ema_overwrite_frequency": 3},
        {"clipvalue": 0.1, "gradient_accumulation_steps": 4, **AVERAGED},
    ],
    ids=["overwriting", "accumulating"],
)
def test_options_of_keras_base_on_two_replicas(two_replicas, options):
    variables, optimizer = train_on_two(two_replicas, lambda: make("lamb", **options), 12)
    check_copies(two_replicas, [*variables.values(), *optimizer.variables])
    expected = train_on_one(make("lamb", **options), 12, sum_of_two)
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6
    averages = {k: values_of(optimizer.slots_of(v))["average"] for k, v in variables.items()}
    optimizer.finalize_variable_values(list(variables.values()))
    check_copies(two_replicas, variables.values())
    assert relative_error(values_of(variables), averages) == 0


# Two replicas whose gradients are orthogonal, and two whose gradients cancel.
ORTHOGONAL = ([10.0, 0.0], [0.0, 10.0])
OPPOSITE = ([10.0, 1.0], [-10.0, 1.0])


def clipped_gradient(strategy, optimizer_of, by_replica):
    """What an optimizer with rate 1 and the plain gradient as direction takes off the weights."""
    with strategy.scope():
        variable = keras.Variable(np.zeros(2, "float32"), name="kernel")
        optimizer = optimizer_of()
        optimizer.build([variable])

    on_two(strategy, {"": variable}, optimizer, lambda g, i: [g[i]])(tf.constant(by_replica))
    return -variable.numpy()


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
def test_clipping_with_stock_keras(two_replicas):
    for _, stock, expected in CLIPPINGS[:2]:
        check_clipping(two_replicas, lambda s=stock: keras.optimizers.SGD(1.0, **s), expected)


def test_local_sums_with_their_denominators(two_replicas):
    """3 examples on one replica, 5 on the other: the sum over replicas is divided by 8."""
    denominators = tf.constant([3.0, 5.0])
    variables, _ = train_on_two(two_replicas, lambda: make("lars"), 5, denominators=denominators)
    expected = train_on_one(
        make("lars"), 5, lambda step: {k: g / 8 for k, g in sum_of_two(step).items()}
    )
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6


def test_an_empty_tail_on_one_replica_and_on_both(two_replicas):
    def gradients_of(step, replica):
        return {k: g * (replica == 0) for k, g in gradients_at(step, 0).items()}

    def optimizer():
        return make("lars", weight_decay=0.0, momentum=0.0)

    variables, _ = train_on_two(two_replicas, optimizer, 2, gradients_of, tf.constant([1.0, 0.0]))
    expected = train_on_one(optimizer(), 2, lambda step: gradients_at(step, 0))
    assert relative_error(values_of(variables), values_of(expected)) < 1e-6

    def nothing(step, replica):
        return {k: 0 * g for k, g in gradients_at(step, 0).items()}

    variables, _ = train_on_two(two_replicas, optimizer, 2, nothing, tf.constant([0.0, 0.0]))
    assert relative_error(values_of(variables), random_arrays(0)) == 0


def slices(rows, values, shape):
    parts = (tf.convert_to_tensor(x) for x in (values, rows, shape))
    return tf.IndexedSlices(*parts)


def test_densify_adds_up_rows_and_widens():
    sparse = slices([2, 0, 2], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [3, 2])
    np.testing.assert_array_equal(reduction.densify(sparse), [[3, 4], [0, 0], [6, 8]])
    assert reduction.densify(tf.ones(2, tf.bfloat16)).dtype == tf.float32


@pytest.mark.parametrize("options", [{}, {"max_grad_norm": 1.0, "gradient_accumulation_steps": 2}])
def test_sparse_gradients_are_dense_ones(two_replicas, options):
    """Repeated rows, others on each replica: norms, accumulators and sums are the dense ones."""
    rows = [[0, 3, 3], [3, 1, 0]]
    values = np.random.RandomState(0).normal(size=(2, 3, 4)).astype("float32")
    dense = np.zeros((2, 5, 4), "float32")
    for replica in range(2):
        np.add.at(dense[replica], rows[replica], values[replica])

    def train(gradients_of, given):
        with two_replicas.scope():
            variable = keras.Variable(np.ones((5, 4), "float32"), name="embeddings")
            optimizer = make("lamb", **options)
            optimizer.build([variable])
        update = on_two(two_replicas, {"": variable}, optimizer, gradients_of)
        for _ in range(4):
            update(given)
        return variable.numpy()

    sparse = train(
        lambda given, index: [slices(given[0][index], given[1][index], [5, 4])],
        (tf.constant(rows), tf.constant(values)),
    )
    # Two orders of summing the same three numbers.
    expected = train(lambda given, index: [given[index]], tf.constant(dense))
    np.testing.assert_allclose(sparse, expected, rtol=2e-6)


def fit(strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        layers = [keras.layers.Dense(8, "relu"), keras.layers.LayerNormalization()]
        model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(1)])
        model.compile(make("lamb-clipped"), "mse", jit_compile=False)
    random = np.random.RandomState(0)
    x = random.normal(size=(64, 6)).astype("float32")
    y = x @ random.normal(size=(6, 1)).astype("float32")
    model.fit(x, y, batch_size=16, epochs=5, shuffle=False, verbose=0)
    return {str(number): np.float64(v) for number, v in enumerate(model.get_weights())}


def test_a_stock_fit_on_two_replicas_is_one_on_one(two_replicas):
    assert relative_error(fit(two_replicas), fit(tf.distribute.get_strategy())) < 1e-5


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
        variables = list(variables_of(random_arrays(0)).values())
        for optimizer in (make("lamb"), tfbert.LossScaleOptimizer(make("lamb"))):

            @tf.function
            def update(optimizer=optimizer):
                gradients = [tf.ones(v.shape) for v in variables]
                two_replicas.run(optimizer.apply, args=(gradients, variables))

            with pytest.raises(ValueError, match=r"call optimizer.build"):
                update()


def test_an_asynchronous_strategy_is_refused():
    strategy = tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        variables = list(variables_of(random_arrays(0)).values())
        optimizer = make("lamb")
        optimizer.build(variables)

    @tf.function
    def update():
        strategy.run(lambda: optimizer.apply([tf.ones(v.shape) for v in variables], variables))

    with pytest.raises(ValueError, match="CentralStorageStrategy"):
        update()


def test_one_device_strategy():
    strategy = tf.distribute.OneDeviceStrategy("CPU:1")
    with strategy.scope():
        variables, optimizer = variables_of(random_arrays(0)), make("lamb", jit_compile=True)
        optimizer.build(list(variables.values()))
    update = on_two(strategy, variables, optimizer, lambda gradients, _: gradients)
    for step in range(5):
        update([tf.constant(sum_of_two(step)[k]) for k in variables])
    expected = train_on_one(make("lamb"), 5, sum_of_two)
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
        lambda: tfbert.LAMB(**EVERYTHING),
        lambda: tfbert.LARS(),
        lambda: tfbert.LossScaleOptimizer(tfbert.LAMB(max_grad_norm=1.0)),
        lambda: tfbert.LossScaleOptimizer(keras.optimizers.Adam()),
    ],
    ids=["lamb with everything", "lars", "loss scale", "loss scale of keras"],
)
def test_an_update_traces_in_tpustrategy(fake_tpu, optimizer_of):
    with fake_tpu.scope():
        variables = list(variables_of(random_arrays(0)).values())
        optimizer = optimizer_of()
        optimizer.build(variables)

    @tf.function
    def update():
        def on_replica():
            gradients = [tf.ones(v.shape) for v in variables]
            # As an embedding's gradient is.
            gradients[0] = slices([1, 1], tf.ones((2, 3)), [4, 3])
            optimizer.apply(gradients, variables)

        fake_tpu.run(on_replica)

    # Those of the graph itself: what stands in the branches of a condition is not looked at.
    operations = [o.type for o in update.get_concrete_function().graph.get_operations()]
    assert operations.count("TPUReplicateMetadata") == 1
    # One sum for each of the five variables, and not a second one outside of a condition.
    assert operations.count("CrossReplicaSum") == 5

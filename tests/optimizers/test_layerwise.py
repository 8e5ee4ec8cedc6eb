"""What every optimizer of the table must do, on any backend (see test_jax.py)."""

import json

import keras
import numpy as np
import pytest
from helpers.optimizer_table import (
    SHAPES,
    TABLE,
    apply,
    make,
    make_reference,
    random_arrays,
    relative_error,
    values_of,
    variables_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

# float32 against float64 over a few steps; a wrong formula differs by 1e-3 and more.
TOLERANCE = 2e-6

every_optimizer = pytest.mark.parametrize("name", TABLE)


def check_against_reference(name, shapes, seed, steps, weight_scale=1.0, gradient_scale=1.0):
    initial = random_arrays(seed, shapes, weight_scale)
    variables, optimizer = variables_of(initial), make(name)
    reference = make_reference(name, initial)
    for step in range(steps):
        gradients = random_arrays(seed + step + 1, shapes, gradient_scale)
        apply(optimizer, gradients, variables)
        reference.step(gradients)
    assert relative_error(values_of(variables), reference.weights) < TOLERANCE


@every_optimizer
def test_follows_the_float64_reference(name):
    check_against_reference(name, SHAPES, seed=0, steps=12)


shapes_of_variables = st.lists(
    st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=4
)
scales = st.floats(-12, 12).map(lambda exponent: 10.0**exponent)


@every_optimizer
@settings(max_examples=12, deadline=None, derandomize=True)
@given(shapes=shapes_of_variables, seed=st.integers(0, 2**20), weights=scales, gradients=scales)
def test_any_shape_and_any_scale(name, shapes, seed, weights, gradients):
    names = ["kernel", "gamma", "dense/kernel", "dense/bias"]
    shapes = dict(zip(names, shapes, strict=False))
    check_against_reference(name, shapes, seed, 3, weights, gradients)


@every_optimizer
def test_zero_weights_and_zero_gradients(name):
    zeros = {k: np.zeros(s, "float32") for k, s in SHAPES.items()}
    for initial, gradients in (
        (zeros, zeros),
        (zeros, random_arrays(1)),
        (random_arrays(1), zeros),
    ):
        variables, optimizer = variables_of(initial), make(name)
        reference = make_reference(name, initial)
        for _ in range(3):
            apply(optimizer, gradients, variables)
            reference.step(gradients)
        for key, value in values_of(variables).items():
            np.testing.assert_allclose(value, reference.weights[key], rtol=1e-5, atol=1e-9)


@every_optimizer
def test_a_variable_without_gradient_is_left_alone(name):
    initial = random_arrays(0)
    variables, optimizer, reference = (
        variables_of(initial),
        make(name),
        make_reference(name, initial),
    )
    for step in range(3):
        gradients = random_arrays(step + 1)
        del gradients["norm/gamma"]
        with pytest.warns(UserWarning, match="norm/gamma"):
            apply(optimizer, gradients, variables)
        reference.step(gradients)
    np.testing.assert_array_equal(values_of(variables)["norm/gamma"], initial["norm/gamma"])
    assert relative_error(values_of(variables), reference.weights) < TOLERANCE


@every_optimizer
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_arithmetic_is_float32_whatever_the_dtype(name, dtype):
    # A large rate: both types round a step of a thousandth of a weight away.
    initial = values_of(variables_of(random_arrays(0), dtype))
    variables, optimizer = variables_of(initial, dtype), make(name, learning_rate=0.2)
    reference = make_reference(name, initial, learning_rate=0.2)
    gradients = values_of(variables_of(random_arrays(1), dtype))
    tensors = [ops.cast(ops.convert_to_tensor(gradients[k]), dtype) for k in variables]
    optimizer.apply(tensors, list(variables.values()))
    reference.step(gradients)
    half_a_unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for key, value in values_of(variables).items():
        np.testing.assert_allclose(value, reference.weights[key], rtol=half_a_unit, atol=1e-7)
    slots = [v for v in optimizer.variables if v.shape and v.shape == (4, 3)]
    assert len(slots) == len(optimizer.slot_names)
    assert {v.dtype for v in slots} == {"float32"}


@every_optimizer
def test_state_is_the_slots_and_scalars(name):
    variables, optimizer = variables_of(random_arrays(0)), make(name)
    optimizer.build(list(variables.values()))
    parameters = sum(int(np.prod(s)) for s in SHAPES.values())
    sizes = [int(np.prod(v.shape)) for v in optimizer.variables]
    scalars = 2 + len(SHAPES)  # iteration, rate, and the first step of every variable
    assert sum(sizes) == len(optimizer.slot_names) * parameters + scalars


@every_optimizer
def test_config_round_trip(name):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    layerwise = {} if name.startswith("adamw") else {"exclude_from_layer_adaptation": []}
    given = make(
        name,
        learning_rate=schedule,
        exclude_from_weight_decay=["a", "b$"],
        **layerwise,
        record_statistics=True,
        use_ema=True,
        ema_momentum=0.5,
        ema_overwrite_frequency=3,
        gradient_accumulation_steps=2,
        loss_scale_factor=4.0,
        name="own_name",
    )
    config = keras.saving.serialize_keras_object(given)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert type(again) is type(given)
    assert again.get_config() == given.get_config()
    assert vars(again.exclusions) == vars(given.exclusions)


@every_optimizer
def test_gradient_accumulation_is_one_update_with_the_mean(name):
    initial = random_arrays(0)
    variables, optimizer = variables_of(initial), make(name, gradient_accumulation_steps=3)
    reference = make_reference(name, initial)
    for update in range(3):
        parts = [random_arrays(10 * update + k) for k in range(3)]
        for number, part in enumerate(parts):
            before = values_of(variables)
            apply(optimizer, part, variables)
            if number < 2:
                assert relative_error(values_of(variables), before) == 0
        reference.step({k: np.mean([np.float64(p[k]) for p in parts], axis=0) for k in SHAPES})
        assert int(optimizer.iterations) == update + 1
    assert relative_error(values_of(variables), reference.weights) < TOLERANCE


@every_optimizer
def test_loss_scale_factor_divides_before_clipping(name):
    initial = random_arrays(0)
    variables, optimizer = variables_of(initial), make(name, loss_scale_factor=1024.0)
    assert float(optimizer.scale_loss(2.0)) == 2048.0
    reference = make_reference(name, initial)
    for step in range(3):
        gradients = random_arrays(step + 1)
        apply(optimizer, {k: 1024 * g for k, g in gradients.items()}, variables)
        reference.step(gradients)
    assert relative_error(values_of(variables), reference.weights) < TOLERANCE


@every_optimizer
def test_moving_average(name):
    initial = random_arrays(0)
    options = {"use_ema": True, "ema_momentum": 0.75}
    variables, optimizer = variables_of(initial), make(name, **options)
    reference = make_reference(name, initial)
    mean = None
    for step in range(4):
        gradients = random_arrays(step + 1)
        apply(optimizer, gradients, variables)
        reference.step(gradients)
        weights = {k: v.copy() for k, v in reference.weights.items()}
        mean = weights if mean is None else {k: 0.75 * mean[k] + 0.25 * weights[k] for k in mean}
    assert relative_error(values_of(variables), reference.weights) < TOLERANCE
    # In another order than that of build: state is found by path.
    optimizer.finalize_variable_values(list(variables.values())[::-1])
    assert relative_error(values_of(variables), mean) < TOLERANCE


def test_moving_average_overwrites_the_weights():
    variables = variables_of(random_arrays(0))
    optimizer = make("lamb", use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    apply(optimizer, random_arrays(1), variables)
    first = values_of(variables)
    apply(optimizer, random_arrays(2), variables)
    averages = {k: values_of(optimizer.slots_of(v))["average"] for k, v in variables.items()}
    assert relative_error(values_of(variables), averages) == 0
    assert relative_error(values_of(variables), first) > 1e-4


@every_optimizer
def test_constraints_hold_after_the_update(name):
    variable = keras.Variable(np.ones(4, "float32"), name="kernel")
    variable.constraint = keras.constraints.NonNeg()
    optimizer = make(name, learning_rate=5.0)
    optimizer.apply([ops.ones(4)], [variable])
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), 0)


@every_optimizer
def test_trust_ratios(name):
    initial = random_arrays(0)
    variables, optimizer = variables_of(initial), make(name, record_statistics=True)
    reference = make_reference(name, initial)
    for step in range(2):
        gradients = random_arrays(step + 1)
        apply(optimizer, gradients, variables)
        reference.step(gradients)
    norm = np.sqrt(sum((np.float64(g) ** 2).sum() for g in gradients.values()))
    assert optimizer.gradient_norm() == pytest.approx(norm, rel=1e-6)
    assert optimizer.trust_ratios().keys() == reference.statistics.keys()
    for path, ratio in optimizer.trust_ratios().items():
        assert tuple(ratio) == pytest.approx(reference.statistics[path], rel=1e-5)


def test_statistics_must_be_asked_for():
    optimizer = make("lamb")
    for method in (optimizer.trust_ratios, optimizer.gradient_norm):
        with pytest.raises(ValueError, match="record_statistics=True"):
            method()


# XLA compiles each of these anew, so a few rows stand for all.
@pytest.mark.parametrize("name", ["lamb", "lamb-clipnorm", "lambc", "lars"])
def test_xla_gives_the_same(name):
    initial, results = random_arrays(0), []
    for jit_compile in (False, True):
        variables, optimizer = variables_of(initial), make(name, jit_compile=jit_compile)
        for step in range(3):
            apply(optimizer, random_arrays(step + 1), variables)
        results.append(values_of(variables))
    assert relative_error(*results) < 5e-7


@every_optimizer
def test_a_schedule_sets_the_rate(name):
    import tfbert

    schedule = tfbert.WarmupPolynomialDecay(0.1, total_steps=4, warmup_steps=2)
    initial = random_arrays(0)
    variables, optimizer = variables_of(initial), make(name, learning_rate=schedule)
    reference = make_reference(name, initial)
    for step, rate in enumerate([0.0, 0.05, 0.1, 0.05, 0.0, 0.0]):
        gradients = random_arrays(step + 1)
        apply(optimizer, gradients, variables)
        reference.rate = rate
        reference.step(gradients)
    assert relative_error(values_of(variables), reference.weights) < TOLERANCE


@pytest.mark.parametrize("name", ["lamb", "lamb-clipped", "lars"])
def test_learns_in_a_stock_fit(name):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    model.compile(make(name, learning_rate=0.05, jit_compile=True), "mse")
    x = np.random.RandomState(0).normal(size=(64, 4)).astype("float32")
    history = model.fit(x, x.sum(1, keepdims=True), batch_size=16, epochs=5, verbose=0)
    assert history.history["loss"][-1] < 0.9 * history.history["loss"][0]


def test_matched_checks_its_input():
    optimizer, variables = make("lamb"), list(variables_of(random_arrays(0)).values())
    with pytest.raises(ValueError, match="must be built"):
        optimizer.apply([ops.ones(3)])
    optimizer.apply([], [])
    assert not optimizer.built
    with pytest.raises(ValueError, match="1 gradients for 5 variables"):
        optimizer.apply([ops.ones(3)], variables)
    with pytest.raises(ValueError, match="No gradients"):
        optimizer.apply([None] * 5, variables)
    optimizer.apply([ops.ones(v.shape) for v in variables])
    assert int(optimizer.iterations) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_clipnorm": 1.0}, "max_grad_norm"),
        ({"max_grad_norm": 1.0, "clipnorm": 1.0}, "one way of clipping"),
        ({"clipvalue": 1.0, "clipnorm": 1.0}, "one way of clipping"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be positive"),
        ({"clipnorm": -1.0}, "clipnorm must be positive"),
        ({"clipvalue": 0.0}, "clipvalue must be positive"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"weight_norm_bounds": (2.0, 1.0)}, "weight_norm_bounds must be 0 <= low <= high"),
        ({"trust_ratio_bounds": (1.0,)}, "trust_ratio_bounds must be a pair"),
        ({"trust_ratio_bounds": 1.0}, "trust_ratio_bounds must be a pair"),
        ({"ema_momentum": 2.0, "use_ema": True}, "ema_momentum"),
        ({"unknown": 1}, "unknown"),
    ],
)
@pytest.mark.parametrize("name", ["lamb-decay-0", "lars"])
def test_wrong_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **options)


def test_no_weight_decay_is_none_or_0():
    assert make("lamb", weight_decay=None).weight_decay == 0.0


def test_weight_decay_of_the_base_class_never_acts():
    """At rate 0 stock decay would do nothing; at decay 0.5 and ratio 1 the two differ by far."""
    initial = {"kernel": np.full((2, 2), 2.0, "float32")}
    variables = variables_of(initial)
    optimizer = make("lars", momentum=0.0, weight_decay=0.5, exclude_from_layer_adaptation=["."])
    apply(optimizer, {"kernel": np.zeros((2, 2), "float32")}, variables)
    # x - rate * decay * x once, not twice.
    np.testing.assert_allclose(values_of(variables)["kernel"], 2.0 * (1 - 0.02 * 0.5), rtol=1e-6)

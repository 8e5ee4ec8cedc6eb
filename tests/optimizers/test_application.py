"""What every optimizer of the table must do in an update, on any backend."""

import keras
import numpy as np
import pytest
from helpers.optimizer_table import (
    SHAPES,
    TABLE,
    Pair,
    apply,
    by_xla,
    every_optimizer,
    make,
    random_arrays,
    relative_error,
    scaled_or_not,
    values_of,
    variables_of,
)
from helpers.optimizer_training import fit, model_of
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import tfbert
from tfbert.optimizers import backend

# float32 against float64 over a few steps; a wrong formula differs by 1e-3 and more.
TOLERANCE = 2e-6


@every_optimizer
def test_follows_the_float64_reference(name):
    pair = Pair(name)
    pair.train(12)
    assert pair.error() < TOLERANCE


IN_PLACE = [name for name in TABLE if not name.startswith("lars")]


@pytest.mark.parametrize("has_statistics", [False, True], ids=["", "statistics"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_it_follows_the_float64_reference(name, has_statistics):
    pair = Pair(name, jit_compile=True, record_statistics=has_statistics)
    pair.train(12)
    assert pair.error() < TOLERANCE
    if has_statistics:
        ratios = pair.optimizer.trust_ratios()
        assert ratios.keys() == pair.reference.statistics.keys()
        for path, ratio in ratios.items():
            assert tuple(ratio) == pytest.approx(pair.reference.statistics[path], rel=1e-5)


@pytest.mark.parametrize(("scale", "max_grad_norm"), [(2.0**66, 1e-3), (2.0**127, None)])
@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_in_place_no_loss_scale_is_too_large(name, scale, max_grad_norm):
    """Float32 holds neither the squares of gradients at 2^66 nor, in full, 1 / 2^127."""
    found = []
    for initial_scale in (1.0, scale):
        optimizer = make(name, jit_compile=True, max_grad_norm=max_grad_norm)
        scaled = tfbert.LossScaleOptimizer(optimizer, initial_scale=initial_scale)
        weight = keras.Variable(np.full(4, 0.5, "float32"), name="kernel")
        scaled.build([weight])
        scaled.apply([scaled.scale_loss(ops.full((4,), 0.2))], [weight])
        found.append(weight.numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert (found[0] < 0.5).all()


def test_in_place_an_interrupted_loop_leaves_the_weights(monkeypatch):
    apply_adam = backend.apply_adam

    def interrupted(*arguments, **options):
        apply_adam(*arguments, **options)
        raise KeyboardInterrupt

    weight = keras.Variable(np.ones(4, "float32"), name="kernel")
    optimizer = make("lamb", jit_compile=True)
    optimizer.build([weight])
    monkeypatch.setattr(backend, "apply_adam", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimizer.apply([ops.ones(4)], [weight])
    assert (weight.numpy() == 1).all()


def test_a_beta_that_float32_rounds_to_one():
    pairs = [Pair("lamb", jit_compile=compiled, beta_2=1 - 1e-8) for compiled in (False, True)]
    for pair in pairs:
        pair.train(3)
    for path in SHAPES:
        plain, ours = (pair.variables[path].numpy() for pair in pairs)
        np.testing.assert_allclose(ours, plain, rtol=1e-5)


def test_in_place_the_slots_are_those_of_the_formulas():
    """So that training can go on with them on another device. 1 - beta is that of float32."""
    pairs = [Pair("lamb", jit_compile=jit_compile) for jit_compile in (False, True)]
    for pair in pairs:
        pair.train(12)
    for path in SHAPES:
        plain, ours = (pair.optimizer.slots_of(pair.variables[path]) for pair in pairs)
        for name, tolerance in (("momentum", 2e-6), ("velocity", 3e-5)):
            expected, found = (ops.convert_to_numpy(slots[name]) for slots in (plain, ours))
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-7)


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
    pair = Pair(name, random_arrays(seed, shapes, weights))
    pair.train(3, shapes, gradients, seed)
    assert pair.error() < TOLERANCE


@every_optimizer
def test_zero_weights_and_zero_gradients(name):
    zeros = {k: np.zeros(s, "float32") for k, s in SHAPES.items()}
    some = random_arrays(1)
    for initial, gradients in ((zeros, zeros), (zeros, some), (some, zeros)):
        pair = Pair(name, initial)
        for _ in range(3):
            pair.step(gradients)
        for key, value in values_of(pair.variables).items():
            np.testing.assert_allclose(value, pair.reference.weights[key], rtol=1e-5, atol=1e-9)


@every_optimizer
def test_a_variable_without_gradient_is_left_alone(name):
    pair = Pair(name, record_statistics=True)
    for step in range(3):
        gradients = random_arrays(step + 1)
        del gradients["norm/gamma"]
        with pytest.warns(UserWarning, match="norm/gamma"):
            pair.step(gradients)
    gamma = values_of(pair.variables)["norm/gamma"]
    np.testing.assert_array_equal(gamma, pair.initial["norm/gamma"])
    assert pair.error() < TOLERANCE
    assert pair.optimizer.trust_ratios().keys() == SHAPES.keys() - {"norm/gamma"}


@every_optimizer
@pytest.mark.parametrize(("dtype", "half_a_unit"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_arithmetic_is_float32_whatever_the_dtype(name, dtype, half_a_unit):
    # A large rate: both types round a step of a thousandth of a weight away.
    initial = values_of(variables_of(random_arrays(0), dtype))
    pair = Pair(name, initial, dtype, learning_rate=0.2)
    pair.reference.rate = 0.2
    gradients = values_of(variables_of(random_arrays(1), dtype))
    tensors = [ops.cast(ops.convert_to_tensor(gradients[k]), dtype) for k in pair.variables]
    pair.optimizer.apply(tensors, list(pair.variables.values()))
    pair.reference.step(gradients)
    for key, value in values_of(pair.variables).items():
        expected = pair.reference.weights[key]
        np.testing.assert_allclose(value, expected, rtol=half_a_unit, atol=1e-7)
    slots = [v for v in pair.optimizer.variables if v.shape and v.shape == (4, 3)]
    assert len(slots) == len(pair.optimizer.slot_names)
    assert {v.dtype for v in slots} == {"float32"}


@every_optimizer
def test_state_is_the_slots_and_scalars(name):
    optimizer = make(name)
    optimizer.build(list(variables_of(random_arrays(0)).values()))
    parameters = sum(int(np.prod(s)) for s in SHAPES.values())
    sizes = [int(np.prod(v.shape)) for v in optimizer.variables]
    scalars = 2 + len(SHAPES)  # iteration, rate, and the first step of every variable
    assert sum(sizes) == len(optimizer.slot_names) * parameters + scalars


@every_optimizer
def test_gradient_accumulation_is_one_update_with_the_mean(name):
    pair = Pair(name, gradient_accumulation_steps=3)
    for update in range(3):
        micro_batches = [random_arrays(10 * update + k) for k in range(3)]
        for number, gradients in enumerate(micro_batches):
            before = values_of(pair.variables)
            apply(pair.optimizer, gradients, pair.variables)
            assert (relative_error(values_of(pair.variables), before) == 0) == (number < 2)
        means = {k: np.mean([np.float64(g[k]) for g in micro_batches], axis=0) for k in SHAPES}
        pair.reference.step(means)
        assert int(pair.optimizer.iterations) == update + 1
    assert pair.error() < TOLERANCE


@every_optimizer
def test_loss_scale_factor_schedule_average_and_statistics(name):
    options = {"use_ema": True, "ema_momentum": 0.75, "record_statistics": True}
    schedule = tfbert.WarmupPolynomialDecay(0.1, total_steps=4, warmup_steps=2)
    pair = Pair(name, learning_rate=schedule, loss_scale_factor=1024.0, **options)
    assert float(pair.optimizer.scale_loss(2.0)) == 2048.0
    mean = None
    for step, rate in enumerate([0.0, 0.05, 0.1, 0.05, 0.0, 0.0]):
        gradients = random_arrays(step + 1)
        pair.reference.rate = rate
        pair.step(gradients, factor=1024)  # divided before it is clipped
        weights = {k: v.copy() for k, v in pair.reference.weights.items()}
        mean = weights if mean is None else {k: 0.75 * mean[k] + 0.25 * weights[k] for k in mean}
    assert pair.error() < TOLERANCE
    norm = np.sqrt(sum((np.float64(g) ** 2).sum() for g in gradients.values()))
    assert pair.optimizer.gradient_norm() == pytest.approx(norm, rel=1e-6)
    assert pair.optimizer.trust_ratios().keys() == pair.reference.statistics.keys()
    for path, ratio in pair.optimizer.trust_ratios().items():
        assert tuple(ratio) == pytest.approx(pair.reference.statistics[path], rel=1e-5)
    # In another order than that of build: state is found by path.
    pair.optimizer.finalize_variable_values(list(pair.variables.values())[::-1])
    assert relative_error(values_of(pair.variables), mean) < TOLERANCE


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
    make(name, learning_rate=5.0).apply([ops.ones(4)], [variable])
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), 0)


def test_statistics_must_be_asked_for():
    optimizer = make("lamb")
    for method in (optimizer.trust_ratios, optimizer.gradient_norm):
        with pytest.raises(ValueError, match="record_statistics=True"):
            method()


# XLA compiles each of these anew, so a few rows stand for all.
@pytest.mark.parametrize("name", ["lamb", "lamb-clipnorm", "lambc", "lars"])
def test_xla_gives_the_same(name, monkeypatch):
    by_xla(monkeypatch)
    results = []
    for jit_compile in (False, True):
        pair = Pair(name, jit_compile=jit_compile)
        pair.train(3)
        results.append(values_of(pair.variables))
    assert relative_error(*results) < 5e-7


@pytest.mark.parametrize(
    "name", ["lamb-clipped", *(pytest.param(n, marks=pytest.mark.slow) for n in ("lamb", "lars"))]
)
def test_learns_in_a_stock_fit(name):
    optimizer = make(name, learning_rate=0.05, jit_compile=True)
    losses = fit(model_of(optimizer, jit_compile="auto"), 4, epochs=5)
    assert losses[-1] < 0.9 * losses[0]


@scaled_or_not
def test_apply_checks_its_input(wrap):
    optimizer, variables = wrap(make("lamb")), list(variables_of(random_arrays(0)).values())
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
    accumulating = wrap(make("lamb", gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match="not with gradient_accumulation_steps"):
        accumulating.apply([ops.ones(v.shape) for v in variables], variables, denominator=3.0)


def test_weight_decay_of_the_base_class_never_acts():
    """At rate 0 stock decay would do nothing; at decay 0.5 and ratio 1 the two differ by far."""
    variables = variables_of({"kernel": np.full((2, 2), 2.0, "float32")})
    optimizer = make("lars", momentum=0.0, weight_decay=0.5, exclude_from_layer_adaptation=["."])
    apply(optimizer, {"kernel": np.zeros((2, 2), "float32")}, variables)
    # x - rate * decay * x once, not twice.
    np.testing.assert_allclose(values_of(variables)["kernel"], 2.0 * (1 - 0.02 * 0.5), rtol=1e-6)

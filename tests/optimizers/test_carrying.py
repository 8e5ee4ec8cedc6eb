"""State of an optimizer that another one begins with.

Keras' own optimizers carried over: tests/models/test_growth.py.
"""

import keras
import numpy as np
import pytest
from helpers.optimizer_table import make, random_arrays, variables_of
from helpers.optimizer_training import model_of, state_of

import tfbert


def test_carry_over_by_path_and_by_another_path(two_replicas, train):
    small = model_of(make("lamb", use_ema=True), hidden=2)
    train(small, 8)
    with two_replicas.scope():
        large = model_of(make("lamb", use_ema=True), hidden=4)
    large.optimizer.build(large.trainable_variables)

    def rename(path):
        """Layer 2 was copied from layer 1; layer 3 is new."""
        return path.replace("hidden_2", "hidden_1")

    fresh = large.optimizer.carry_over(small.optimizer, rename)
    assert fresh == ["hidden_3/kernel", "hidden_3/bias"]
    assert large.optimizer.iterations.numpy() == small.optimizer.iterations.numpy() == 8
    theirs = state_of(small.optimizer)
    for path, slots in state_of(large.optimizer).items():
        if path in fresh:
            assert slots["first_step"] == 8
            assert not slots["momentum"].any()
        else:
            np.testing.assert_equal(slots, theirs[rename(path)])
    train(large, 4)
    assert large.optimizer.iterations.numpy() == 12


def test_carry_over_of_a_loss_scale(train):
    small, large = (
        model_of(
            tfbert.LossScaleOptimizer(make("lamb"), initial_scale=8.0, dynamic_growth_steps=3),
            hidden=n,
        )
        for n in (1, 2)
    )
    train(small, 8)
    large.optimizer.build(large.trainable_variables)
    assert large.optimizer.carry_over(small.optimizer) == ["hidden_1/kernel", "hidden_1/bias"]
    assert large.optimizer.dynamic_scale.numpy() == small.optimizer.dynamic_scale.numpy() > 8.0
    assert large.optimizer.iterations.numpy() == 8


def test_carry_over_checks_its_source():
    built = make("lamb")
    built.build(list(variables_of(random_arrays(0)).values()))
    with pytest.raises(ValueError, match="both optimizers built"):
        built.carry_over(make("lamb"))
    scaled, adam = (tfbert.LossScaleOptimizer(o) for o in (make("lamb"), keras.optimizers.Adam()))
    for target, source, classes in (
        (built, make("lars"), "LARS to LAMB"),
        (scaled, make("lamb"), "LAMB to LossScaleOptimizer"),
        (adam, tfbert.LossScaleOptimizer(keras.optimizers.SGD()), "SGD to Adam"),
    ):
        with pytest.raises(TypeError, match=f"carry_over from {classes}"):
            target.carry_over(source)


def test_carry_over_into_an_average_starts_it_from_the_weights():
    variables = model_of("sgd").trainable_variables
    ones = [keras.ops.ones(v.shape) for v in variables]
    plain, averaged = (make("lamb", learning_rate=1e-3, use_ema=ema) for ema in (False, True))
    for optimizer in (plain, averaged):
        optimizer.build(variables)
    plain.apply(ones)
    before = [v.numpy() for v in variables]
    assert averaged.carry_over(plain) == []
    averaged.apply(ones)
    averaged.finalize_variable_values(variables)
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_allclose(variable.numpy(), old, atol=5e-3)


def test_carry_over_counts_updates_not_micro_batches():
    weights = [keras.Variable(np.ones(2, "float32"), name="kernel")]
    steps = [make("lamb", gradient_accumulation_steps=n) for n in (4, None, 2)]
    for optimizer in steps:
        optimizer.build(weights)
    for _ in range(8):
        steps[0].apply([keras.ops.ones(2)], weights)
    steps[1].carry_over(steps[0])
    steps[2].carry_over(steps[1])
    assert [int(optimizer.iterations) for optimizer in steps] == [2, 2, 2]

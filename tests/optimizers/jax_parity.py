"""KERAS_BACKEND=jax: every optimizer inside jax.jit against float64, overflows, stock fits.

`test_processes.py` runs it, with that backend.
"""

import jax
import keras
import numpy as np
import pytest
from helpers.optimizer_table import (
    TABLE,
    make,
    make_reference,
    random_arrays,
    relative_error,
    variables_of,
)
from helpers.optimizer_training import fit, model_of

import tfbert

assert keras.backend.backend() == "jax"

SCALED = [
    lambda: tfbert.LossScaleOptimizer(make("lamb"), 8.0, 3),
    lambda: tfbert.LossScaleOptimizer(keras.optimizers.Adam(0.02), 8.0, 3),
]
STATISTICS = {"max_grad_norm": 1.0, "record_statistics": True, "use_ema": True}


def stateless(optimizer, initial):
    """A function from gradients by path to the new weights by path.

    It calls `stateless_apply`, which is what Keras' JAX trainer compiles.
    """
    variables = variables_of(initial)
    optimizer.build(list(variables.values()))
    update = jax.jit(optimizer.stateless_apply)
    state = [v.value for v in optimizer.variables], [v.value for v in variables.values()]

    def train(gradients):
        nonlocal state
        own, weights = state
        weights, own = update(own, [gradients[k] for k in variables], weights)
        state = own, weights
        for variable, value in zip(optimizer.variables, own, strict=True):
            variable.assign(value)
        return dict(zip(variables, (np.float64(w) for w in weights), strict=True))

    return train


@pytest.mark.parametrize(("name", "every"), [*((name, 1) for name in TABLE), ("lamb-clipped", 2)])
def test_follows_the_float64_reference(name, every):
    initial = random_arrays(0)
    optimizer = make(name, gradient_accumulation_steps=every if every > 1 else None)
    train, reference = stateless(optimizer, initial), make_reference(name, initial)
    for step in range(6):
        gradients = random_arrays(step + 1)
        for _ in range(every):
            weights = train(gradients)
        reference.step(gradients)
    assert relative_error(weights, reference.weights) < 2e-6


@pytest.mark.parametrize("optimizer_of", SCALED)
def test_an_overflow_is_skipped(optimizer_of):
    optimizer = optimizer_of()
    train = stateless(optimizer, random_arrays(0))
    before, bad = train(random_arrays(1)), random_arrays(2)
    bad["dense/bias"][1] = np.nan
    assert relative_error(train(bad), before) == 0
    assert float(optimizer.dynamic_scale) == 4.0
    assert int(optimizer.skipped_steps) == int(optimizer.iterations) == 1
    assert relative_error(train(random_arrays(3)), before) > 1e-4


@pytest.mark.parametrize("optimizer_of", [*SCALED, lambda: make("lamb", **STATISTICS)])
def test_learns_in_a_stock_fit(optimizer_of):
    losses = fit(model_of(optimizer_of(), jit_compile="auto"), 4, epochs=6)
    assert losses[-1] < 0.9 * losses[0]

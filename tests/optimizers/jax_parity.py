"""KERAS_BACKEND=jax: every optimizer inside jax.jit against float64, overflows, stock fits.

Prints the name of each part that passed.
"""

import jax
import keras
import numpy as np
from helpers.optimizer_table import (
    TABLE,
    make,
    make_reference,
    random_arrays,
    relative_error,
    variables_of,
)

import tfbert


def main():
    assert keras.backend.backend() == "jax"
    for name in TABLE:
        check(name)
        print(name)
    check("lamb-clipped", gradient_accumulation_steps=2)
    inner = (lambda: make("lamb"), lambda: keras.optimizers.Adam(0.02))
    scaled = [lambda make=make: tfbert.LossScaleOptimizer(make(), 8.0, 3) for make in inner]
    for optimizer_of in scaled:
        check_overflow(optimizer_of)
    print("overflow")
    statistics = {"max_grad_norm": 1.0, "record_statistics": True, "use_ema": True}
    for optimizer_of in (*scaled, lambda: make("lamb", **statistics)):
        check_fit(optimizer_of)
    print("fit")


def check(name, **options):
    """`stateless_apply`, which is what Keras' JAX trainer compiles."""
    initial = random_arrays(0)
    optimizer, reference = make(name, **options), make_reference(name, initial)
    train = stateless(optimizer, initial)
    every = options.get("gradient_accumulation_steps", 1)
    for step in range(6):
        gradients = random_arrays(step + 1)
        for _ in range(every):
            weights = train(gradients)
        reference.step(gradients)
    assert relative_error(weights, reference.weights) < 2e-6, name


def stateless(optimizer, initial):
    """A function from gradients by path to the new weights by path."""
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


def check_overflow(optimizer_of):
    optimizer = optimizer_of()
    train = stateless(optimizer, random_arrays(0))
    before = train(random_arrays(1))
    bad = random_arrays(2)
    bad["dense/bias"][1] = np.nan
    assert relative_error(train(bad), before) == 0
    assert float(optimizer.dynamic_scale) == 4.0
    assert int(optimizer.skipped_steps) == 1
    assert int(optimizer.iterations) == 1
    assert relative_error(train(random_arrays(3)), before) > 1e-4


def check_fit(optimizer_of):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    model.compile(optimizer_of(), "mse")
    x = np.random.RandomState(0).normal(size=(64, 4)).astype("float32")
    options = {"batch_size": 16, "epochs": 6, "verbose": 0}
    losses = model.fit(x, x.sum(1, keepdims=True), **options).history["loss"]
    assert losses[-1] < 0.9 * losses[0]


if __name__ == "__main__":
    main()

"""A small model whose optimizer is stepped by hand: a stock `fit` traces for seconds."""

import keras
import numpy as np
import tensorflow as tf


def model_of(optimizer, hidden=1, frozen=()):
    """Layers hidden_0, ... and head, compiled."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, name=f"hidden_{k}") for k in range(hidden)]
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1, name="head")])
    for name in frozen:
        model.get_layer(name).trainable = False
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def train(model, steps, strategy=None):
    """Updates with gradients that follow from the shapes and the number of the step."""
    optimizer, variables = model.optimizer, model.trainable_variables

    def gradients_of(step):
        random = np.random.RandomState(step)
        return [tf.constant(random.normal(size=v.shape), tf.float32) for v in variables]

    if strategy is None:
        if not optimizer.built:  # as `fit` does, before it scales the first loss
            optimizer.build(variables)
        for step in range(steps):
            optimizer.apply([optimizer.scale_loss(g) for g in gradients_of(step)], variables)
        return
    with strategy.scope():
        optimizer.build(variables)
    update = tf.function(lambda *g: strategy.run(optimizer.apply, args=(g, variables)))
    for step in range(steps):
        update(*gradients_of(step))


def check_same_state(one, two):
    """Bit for bit: weights and what the two optimizers would save."""
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    ours, theirs = _saved_by(one.optimizer), _saved_by(two.optimizer)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key], key)


def _saved_by(optimizer):
    store, inner = {}, {}
    optimizer.save_own_variables(store)
    if hasattr(optimizer, "inner_optimizer"):
        optimizer.inner_optimizer.save_own_variables(inner)
    return store | {f"inner|{key}": value for key, value in inner.items()}

"""Optimizers that train: a small model, or the variables of the table on any strategy."""

import keras
import numpy as np
import tensorflow as tf
from helpers.optimizer_table import apply, random_arrays, values_of, variables_of


def model_of(optimizer, hidden=1, frozen=(), layers=None, **compile_options):
    """Layers hidden_0, ... (or those that are given) and head, compiled."""
    keras.utils.set_random_seed(0)
    if layers is None:
        layers = [keras.layers.Dense(8, name=f"hidden_{k}") for k in range(hidden)]
    head = keras.layers.Dense(1, dtype="float32", name="head")
    model = keras.Sequential([keras.Input((4,)), *layers, head])
    for name in frozen:
        model.get_layer(name).trainable = False
    model.compile(optimizer, "mse", **{"jit_compile": False, **compile_options})
    return model


def fit(model, steps, epochs=1, **options):
    """The losses of a stock `fit` with `steps` updates an epoch."""
    x = np.random.RandomState(0).normal(size=(16 * steps, 4)).astype("float32")
    options = {"batch_size": 16, "epochs": epochs, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, x.sum(1, keepdims=True), **options).history["loss"]


def update_by_hand(model, steps):
    """As `fit`, with gradients that follow from their shapes alone: `fit` traces for seconds."""
    optimizer, variables = model.optimizer, model.trainable_variables
    strategy = model.distribute_strategy
    if not optimizer.built:  # as `fit` does, before it scales the first loss
        with strategy.scope():
            optimizer.build(variables)

    def update(gradients):
        strategy.run(optimizer.apply, args=(gradients, variables))

    if strategy.num_replicas_in_sync > 1:
        update = tf.function(update)
    for step in range(steps):
        random = np.random.RandomState(step)
        gradients = [tf.constant(random.normal(size=v.shape), tf.float32) for v in variables]
        update([optimizer.scale_loss(g) for g in gradients])


def state_of(optimizer, part=""):
    """`{path: {slot: array}}` of the paths that contain a string."""
    return {p: values_of(slots) for p, slots in optimizer.all_slots() if part in p}


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


def built_in(strategy, optimizer_of, initial=None):
    """Variables by path, of the table unless others are given, and an optimizer of them."""
    with strategy.scope():
        variables = variables_of(random_arrays(0) if initial is None else initial)
        optimizer = optimizer_of()
        optimizer.build(list(variables.values()))
    return variables, optimizer


def update_of(strategy, optimizer, variables, gradients_of, denominators=None):
    """A function, traced once, that makes one update on all replicas.

    Args:
        gradients_of: A function of a replica's number and of what the update is called with; it
            returns that replica's gradients, a list.
        denominators: A tensor of what each replica passes, or None.
    """

    @tf.function
    def update(*arguments):
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            options = {} if denominators is None else {"denominator": denominators[replica]}
            optimizer.apply(gradients_of(replica, *arguments), list(variables.values()), **options)

        strategy.run(on_replica)

    return update


def gradients_at(step, replica):
    return random_arrays(1000 * step + replica)


def sum_of_two(step):
    one, two = gradients_at(step, 0), gradients_at(step, 1)
    return {k: one[k] + two[k] for k in one}


def train_on(strategy, optimizer_of, steps, gradients_of=gradients_at, denominators=None):
    """Trains on two replicas or on one, each with gradients of its own, of a scaled loss.

    Returns:
        Variables by path and the optimizer.
    """
    variables, optimizer = built_in(strategy, optimizer_of)

    def own(replica, stacked):
        return [optimizer.scale_loss(g[replica]) for g in stacked]

    update = update_of(strategy, optimizer, variables, own, denominators)
    for step in range(steps):
        pair = [gradients_of(step, replica) for replica in range(2)]
        update([tf.stack([g[k] for g in pair]) for k in variables])
    return variables, optimizer


def train_on_one(optimizer, steps, gradients_of=sum_of_two):
    """The variables after updates without a strategy, of a scaled loss."""
    variables, _ = built_in(tf.distribute.get_strategy(), lambda: optimizer)
    for step in range(steps):
        gradients = {k: optimizer.scale_loss(g) for k, g in gradients_of(step).items()}
        apply(optimizer, gradients, variables)
    return variables

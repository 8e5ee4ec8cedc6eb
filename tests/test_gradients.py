"""Gradients of one's own must not outlive the graph that they are in."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import example_arrays, make_classifier

from tfbert.gradients import custom_gradient, registered_gradients
from tfbert.models.layers.kernels import rematerialized

POINTS = np.linspace(-2, 2, 9, dtype=np.float32)


def custom_names():
    gc.collect()
    return {name for name in registered_gradients() if name.startswith("CustomGradient-")}


def test_tensorflow_still_has_the_table():
    """The contract: the names of TensorFlow's that the module leans on."""
    before = custom_names()
    with tf.Graph().as_default() as graph:
        output = tf.custom_gradient(lambda x: (x * x, lambda upstream: upstream))(tf.ones(2))
        name = output.op.get_attr("_gradient_op_type").decode()
    assert custom_names() - before == {name}
    assert callable(registered_gradients().pop(name)["type"])
    assert graph is output.graph


@pytest.mark.parametrize("way", ["eager", "tape", "symbolic", "loop", "xla"])
def test_the_gradient_is_its_own(way):
    """It is wrong on purpose, 5 times the upstream one; so are both of two nested ones."""

    @custom_gradient
    def square(x):
        return x * x, lambda upstream: 5 * upstream

    @rematerialized
    def outer(x):
        return 2 * square(x)

    def by_tape(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = outer(x)
        return output, tape.gradient(output, x)

    def symbolic(x):
        output = outer(x)
        return output, tf.gradients(output, x)[0]

    def loop(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            _, output = tf.while_loop(
                lambda i, _: i < 1, lambda i, x: (i + 1, 2 * square(x)), (tf.constant(0), x)
            )
        return output, tape.gradient(output, x)

    compute = {
        "eager": by_tape,
        "tape": tf.function(by_tape),
        "symbolic": tf.function(symbolic),
        "loop": tf.function(loop),
        "xla": tf.function(by_tape, jit_compile=True),
    }[way]
    output, slope = compute(tf.constant(POINTS))
    np.testing.assert_array_equal(output, 2 * POINTS * POINTS)
    np.testing.assert_array_equal(slope, np.full_like(POINTS, 10))


def test_a_gradient_lives_as_long_as_its_graph():
    before = custom_names()
    held = []

    @tf.function
    def compute(x):
        @custom_gradient
        def cube(x):
            kept = x * x
            held.append(weakref.ref(kept))
            return kept * x, lambda upstream: 3 * kept * upstream

        with tf.GradientTape() as tape:
            tape.watch(x)
            output = cube(x)
        return tape.gradient(output, x)

    concrete = compute.get_concrete_function(tf.TensorSpec([], tf.float32))
    assert len(custom_names() - before) == len(held) == 1
    assert held[0]() is not None
    assert concrete(tf.constant(2.0)) == 12
    del compute, concrete
    assert custom_names() <= before
    assert held[0]() is None


def fit_once(strategy):
    """Trains and predicts; returns a weak reference to the model's backbone, and to its graph."""
    with strategy.scope():
        model = make_classifier(dropout=0.1)
        model.compile("sgd", "sparse_categorical_crossentropy")
    for layer in model.backbone.transformer_layers:
        layer.rematerialize = True
    inputs, labels, _ = example_arrays(4)
    model.fit(inputs, labels, batch_size=4, verbose=0)
    model.predict(inputs, verbose=0)
    return weakref.ref(model), weakref.ref(model.backbone)


@pytest.mark.parametrize("replicas", [1, 2])
def test_nothing_of_a_model_is_kept(replicas, two_replicas):
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    fit_once(strategy)
    before = custom_names()
    references = fit_once(strategy)
    assert custom_names() <= before
    assert [reference() for reference in references] == [None, None]

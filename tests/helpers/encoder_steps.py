"""Outputs and gradients of the small encoder under TensorFlow: eager, or traced."""

import functools

import keras
import numpy as np
import tensorflow as tf
from helpers.small_encoder import CONFIG, INPUTS, PROJECTION

from tfbert.fit.keras_internals import seed_generators


def compute(model, training, inputs, projection):
    """Both outputs, and the gradients of a scalar of them by all trainable weights."""
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=training)
        outputs = {name: tf.cast(value, tf.float32) for name, value in outputs.items()}
        loss = tf.reduce_sum(outputs["sequence_output"] * projection)
        loss += tf.reduce_sum(outputs["pooled_output"])
    found = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return outputs, [tf.convert_to_tensor(g) for g in found]


def traced(model, jit_compile=False):
    """`compute` of a training step as a graph, for any number of rows and tokens."""
    signature = [
        {name: tf.TensorSpec((None, None), tf.int32) for name in INPUTS},
        tf.TensorSpec((None, None, CONFIG["hidden_dim"])),
    ]
    step = functools.partial(compute, model, True)
    return tf.function(step, signature, autograph=False, jit_compile=jit_compile)


def results(model, step=None, rows=6):
    """Arrays: outputs by name, gradients by path; of eager inference, unless a step is given."""
    step = step or functools.partial(compute, model, False)
    outputs, found = step(
        {name: tf.constant(values[:rows]) for name, values in INPUTS.items()},
        tf.constant(PROJECTION[:rows]),
    )
    return keras.tree.map_structure(np.asarray, outputs), by_path(model, found)


def by_path(model, gradients):
    paths = [v.path for v in model.trainable_variables]
    return dict(zip(paths, map(np.float64, gradients), strict=True))


def fixed_seeds(model):
    """Lets every generator return a seed of its own, the same in each call."""
    found = seed_generators(model)
    for number, (_, generator) in enumerate(found):
        generator.next = lambda number=number: tf.constant([number, 5], tf.int64)
    return len(found)

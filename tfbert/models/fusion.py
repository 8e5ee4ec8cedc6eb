"""Chains of elementwise work in one pass over memory."""

import functools

import keras
from keras import ops


def fused(function):
    """`function` of tensors, compiled by XLA where that is for us to do.

    TensorFlow alone runs each elementwise operation as a pass over memory of its own. XLA makes
    one of a chain of them, and keeps its intermediates in registers, in the dtype that the
    function asks for. Products stay outside: on a CPU oneDNN's are faster than XLA's.

    Each shape is compiled once, in about 0.1 s. Under TPUStrategy and JAX the caller's step is
    compiled as a whole. TensorFlow cannot differentiate the compiled function: it belongs inside
    of one that has a gradient of its own.

    Args:
        function: Takes and returns tensors; has no side effects.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    program = tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)

    @functools.wraps(function)
    def call(*tensors):
        on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
        return (function if on_tpu else program)(*tensors)

    return call


def with_gradient(function):
    """`function`, differentiated by what it says where that saves work.

    Args:
        function: Of tensors; returns its output and a function from the output's gradient to
            those of the arguments.

    Returns:
        A function of the same tensors that returns the output. JAX differentiates it by itself:
        under `jax.jit` there is nothing to gain, and what the function encloses would leak from
        `jax.checkpoint`.
    """
    if keras.backend.backend() == "tensorflow":
        return ops.custom_gradient(function)
    return lambda *tensors: function(*tensors)[0]

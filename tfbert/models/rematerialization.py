"""Activations that are computed again in the backward pass instead of being kept."""

import keras


def rematerialized(function):
    """`function`, which keeps its arguments alone for the backward pass (Chen et al. 2016).

    Args:
        function: Takes tensors, of any dtype, and returns one floating tensor. All that it reads
            must be an argument: what is not may be computed ahead of the backward pass, and kept.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(function)
    import tensorflow as tf

    # tf.recompute_grad would log a warning for every integer argument, seeds and masks.
    @tf.custom_gradient
    def call(*tensors):
        def gradient(upstream):
            later = [tensor + tf.cast(_zero(upstream), tensor.dtype) for tensor in tensors]
            floating = [tensor for tensor in later if tensor.dtype.is_floating]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(floating)
                output = function(*later)
            found = iter(tape.gradient(output, floating, upstream))
            return [next(found) if tensor.dtype.is_floating else None for tensor in later]

        return function(*tensors), gradient

    return call


def _zero(upstream):
    """0, known only once `upstream` is: the data dependency that puts off the recomputation.

    XLA does not respect control dependencies, and either compiler would merge equal work.
    """
    import tensorflow as tf

    first = tf.reduce_sum(tf.reshape(upstream, [-1])[:1])
    return tf.minimum(tf.abs(first), 0)

"""Norms, clipping and the overflow test, on gradients that are already reduced."""

from keras import ops


def norm(x):
    """||x||_2 of one float32 tensor, as a float32 scalar.

    Squares must fit float32: elements between about 1e-19 and 1e19 in magnitude.
    """
    return ops.sqrt(ops.sum(ops.square(x)))


def global_norm(gradients):
    """sqrt(sum_i ||g_i||^2) of a list of float32 tensors, as a float32 scalar."""
    return ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))


def scale_to_norm(gradients, max_norm, current_norm):
    """Divides all gradients by `max(1, current_norm / max_norm)`.

    Args:
        gradients: List of float32 tensors.
        max_norm: Float, positive.
        current_norm: Float32 scalar, the norm that shall not be above `max_norm`.

    Returns:
        List of float32 tensors. A norm that is not finite makes them not finite.
    """
    divisor = ops.maximum(1.0, current_norm / max_norm)
    return [g / divisor for g in gradients]


def clip_each_norm(gradients, max_norm):
    """Clips the norm of every gradient by itself to `max_norm` (Keras' `clipnorm`)."""
    return [scale_to_norm([g], max_norm, norm(g))[0] for g in gradients]


def clip_each_value(gradients, max_value):
    """Clips every element to `[-max_value, max_value]` (Keras' `clipvalue`)."""
    return [ops.clip(g, -max_value, max_value) for g in gradients]


def all_finite(gradients):
    """Whether no element of any tensor of the list is inf or NaN, as a boolean scalar."""
    return ops.all(ops.stack([ops.all(ops.isfinite(g)) for g in gradients]))

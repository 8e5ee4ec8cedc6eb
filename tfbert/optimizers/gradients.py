"""Norms and the overflow test of one float32 tensor."""

from keras import ops


def norm(x):
    """||x||_2, as a float32 scalar.

    Squares must fit float32: elements between about 1e-19 and 1e19 in magnitude.
    """
    return ops.sqrt(ops.sum(ops.square(x)))


def sum_of_squares(gradient, divisor):
    """||gradient / divisor||^2, as a float32 scalar."""
    return ops.sum(ops.square(gradient / divisor))


def is_finite(gradient, divisor):
    """Whether no element of `gradient / divisor` is inf or NaN, as a boolean scalar."""
    return ops.all(ops.isfinite(gradient / divisor))

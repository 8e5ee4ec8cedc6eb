"""Gradients of what a function computes, by a `tf.GradientTape`."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfbert.optimizers import reduction


def gradients(
    forward: Callable[[], tuple[tf.Tensor, Any]],
    variables: Sequence[keras.Variable],
    others: Sequence[keras.Variable],
) -> tuple[list[tf.Tensor | None], Any]:
    """Dense float32 gradients of this replica, and what else `forward` returns.

    Args:
        forward: Returns a scalar and a structure of tensors. It may assign to the variables.
        variables: Those to differentiate by.
        others: All further ones that `forward` may assign to.

    Returns:
        A list of gradients, None for a variable that the scalar does not depend on, and the
        structure.
    """
    values = [v.value for v in variables]
    # Only what is trained is watched: a frozen layer keeps no activations.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        scalar, results = forward()
        found = tape.gradient(scalar, values)
    return [None if g is None else reduction.densify(g) for g in found], results

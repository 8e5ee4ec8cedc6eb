"""Functions compiled by XLA."""

import functools
from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[..., Any], reduce_retracing: bool = False) -> Callable[..., Any]:
    """`function`, compiled by XLA unless the caller's step is compiled as a whole.

    Each shape of the arguments is compiled once. The function may assign to variables that are
    its arguments: one compilation then serves all variables of a shape. Under TPUStrategy and JAX
    the caller's step is compiled, and `function` is called as it is.

    Args:
        function: Of structures of tensors and of Python values.
        reduce_retracing: Whether one program may serve several shapes.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    program = tf.function(
        function, jit_compile=True, autograph=False, reduce_retracing=reduce_retracing
    )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
        return (function if on_tpu else program)(*args, **kwargs)

    return call

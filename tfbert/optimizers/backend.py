"""What TensorFlow needs and JAX does not: conditions, copies of a variable, scopes, paths.

Under JAX every function does the plain thing that its name says. The sum over replicas is in
`reduction`.
"""

import contextlib
import importlib
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfbert.types import Tensor


def _imported(backend: str) -> Any:
    return importlib.import_module(backend) if keras.backend.backend() == backend else None


# The one that Keras runs on; the other is None.
tf, jax = _imported("tensorflow"), _imported("jax")


def run_if(
    predicate: Tensor | None, update: Callable[[], None], variables: Sequence[keras.Variable]
) -> None:
    """Runs `update`, which assigns to some of `variables`, where `predicate` holds.

    All replicas must see the same `predicate`, and `update` must hold no `merge_call`.

    Args:
        predicate: Boolean scalar tensor; None means always.
        variables: All that `update` may assign to.
    """
    if predicate is None:
        update()
    elif tf is not None:

        def updated() -> Tensor:
            update()
            return tf.constant(0)

        tf.cond(predicate, updated, lambda: tf.constant(0))
    else:
        # JAX cannot trace side effects in a branch: compute both states, select one.
        before = [(v, ops.convert_to_tensor(v)) for v in variables]
        with keras.StatelessScope(state_mapping=before) as scope:
            update()
        after = [scope.get_current_value(v) for v in variables]
        for (variable, old), new in zip(before, after, strict=True):
            variable.assign(ops.where(predicate, new, old))


# Under JAX: the axis of the mesh, of the program that is being traced.
_axes: list[str | None] = []


@contextlib.contextmanager
def replicas_along(axis: str | None) -> Iterator[None]:
    """Inside it, what JAX traces is the program of each device along an axis of its mesh.

    Args:
        axis: None for a program that is the same on all devices, with the same data.
    """
    _axes.append(axis)
    try:
        yield
    finally:
        _axes.pop()


def axis() -> str | None:
    """The axis of the innermost `replicas_along`, or None."""
    return _axes[-1] if _axes else None


def replica_id() -> Tensor | int:
    """This replica's number among all of them, on all workers: a scalar int32 tensor or int."""
    if tf is None:
        return 0 if axis() is None else jax.lax.axis_index(axis())
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def replica_count() -> int:
    """How many replicas run what is being traced."""
    if tf is None:
        return 1 if axis() is None else jax.lax.axis_size(axis())
    return tf.distribute.get_replica_context().num_replicas_in_sync


def local(variable: keras.Variable) -> keras.Variable:
    """This replica's copy of a variable, as a function compiled by XLA takes it."""
    if tf is None:
        return variable
    variable = _native(variable)
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return variable
    copies = tf.distribute.get_strategy().experimental_local_results(variable)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return copies[int(tf.get_static_value(replica)) % len(copies)]


def all_update_in_place(variables: Sequence[keras.Variable]) -> bool:
    """Whether the three functions below are to update these variables of a model.

    They are TensorFlow's kernels for float32 on a CPU: one pass over gradient, weights and slots,
    in place, with all cores, where XLA makes a pass for each result. docs/benchmark_optimizers.md
    has the times.
    """
    if tf is None or isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return False
    return all(
        keras.backend.standardize_dtype(v.dtype) == "float32" and "CPU" in local(v).device
        for v in variables
    )


def apply_adam(
    x: Any,
    m: Any,
    v: Any,
    gradient: Tensor,
    *,
    rate: Tensor,
    beta_1: float,
    beta_2: float,
    epsilon: Tensor,
) -> None:
    """Adam's two moments and its step.

        m = beta_1 m + (1 - beta_1) g
        v = beta_2 v + (1 - beta_2) g^2
        x = x - rate m / (sqrt(v) + epsilon)

    Args:
        x, m, v: `local` variables, float32, of one shape.
        gradient: Float32 tensor of that shape.
        rate, epsilon: Float32 scalars.
    """
    tf.raw_ops.ResourceApplyAdam(
        var=x.handle,
        m=m.handle,
        v=v.handle,
        grad=gradient,
        lr=rate,
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        # It would correct the bias in float32, which loses the digits of 1 - 0.999.
        beta1_power=0.0,
        beta2_power=0.0,
    )


def adam_correction(beta: float, t: Tensor, corrects_bias: bool) -> Tensor:
    """What the moment of `apply_adam` is divided by after t updates.

    The kernel takes 1 - beta of a beta in float32: 0.0009999871 instead of 0.001.

    Args:
        corrects_bias: Whether the sum of the weights of all gradients is to be 1; else it is to be
            1 - beta^t.
    """
    if not np.float32(beta):
        return ops.ones_like(t)
    weights = -ops.expm1(t * math.log(np.float32(beta)))
    return weights if corrects_bias else weights / -ops.expm1(t * math.log(beta))


def sum_of_squares(x: Tensor) -> Tensor:
    """||x||^2, as a float32 scalar."""
    return 2.0 * tf.nn.l2_loss(x)


def subtract(x: Any, factor: Tensor, y: Tensor) -> None:
    """x = x - factor y, for a `local` variable x, a float32 scalar and a tensor of x's shape."""
    tf.raw_ops.ResourceApplyGradientDescent(var=x.handle, alpha=factor, delta=y)


def known_value(scalar: Tensor) -> float | None:
    """The value of a scalar where it is known before anything is computed."""
    value = None if tf is None else tf.get_static_value(scalar)
    return None if value is None else float(value)


def outside_of_graphs() -> contextlib.AbstractContextManager:
    """A scope in which assignments are done immediately, even while a function is traced."""
    return contextlib.nullcontext() if tf is None else tf.init_scope()


def check_may_build() -> None:
    """Raises ValueError where it is too late to make variables for several replicas."""
    if tf is not None and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError("call optimizer.build(model.trainable_variables) in strategy.scope()")


def slot_scope(
    variable: keras.Variable, own_variable: keras.Variable
) -> contextlib.AbstractContextManager:
    """The scope in which a slot of the model's `variable` is created, with the same copies.

    Args:
        own_variable: A variable that the optimizer made in its constructor.

    Raises:
        ValueError: the optimizer was constructed outside of the model's strategy.
    """
    if tf is None:
        return contextlib.nullcontext()
    ours, theirs = _strategy_of(own_variable), _strategy_of(variable)
    if ours is not theirs:
        raise ValueError("construct the optimizer inside the strategy.scope() of the model")
    if theirs is None or tf.distribute.get_strategy() is theirs:
        return contextlib.nullcontext()
    return theirs.scope()


def _native(variable: keras.Variable) -> keras.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _strategy_of(variable: keras.Variable) -> Any:
    return getattr(_native(variable), "distribute_strategy", None)


def variable_path(variable: keras.Variable) -> str:
    """The path by which state is found: `transformer_layer_3/.../kernel`.

    Without the number that Keras gives to an unnamed `Sequential`, as another one of the same
    layers has another number, and without TensorFlow's `:0`.
    """
    path = (getattr(variable, "path", None) or variable.name).split(":")[0]
    return re.sub(r"^sequential(_\d+)?/", "", path)


def first_free(path: str, taken: Collection[str | None]) -> str:
    """`path`, or the first of `path#2`, `path#3`, ... that is not taken."""
    names = itertools.chain([path], (f"{path}#{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)

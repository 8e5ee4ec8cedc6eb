"""Keras' code, which assigns to variables, as functions that JAX differentiates and compiles."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
from jax.extend.core import Literal, jaxpr_as_fun

from tfbert.fit import keras_internals
from tfbert.types import Tensor


def stateless(
    variables: Sequence[keras.Variable], function: Callable[..., Any]
) -> Callable[..., tuple[list[jax.Array], Any]]:
    """A function of the values of `variables` and further arguments.

    Args:
        function: Of the further arguments. It may read any variable and assign to `variables`.

    Returns:
        A function that returns their new values, in their dtypes, and what `function` returns.
        Inside of another such function, all other variables have the values that they have there.
    """

    def call(
        values: Sequence[jax.Array], *arguments: Any, **named: Any
    ) -> tuple[list[jax.Array], Any]:
        known = keras_internals.stateless_values()
        with keras.StatelessScope(collect_losses=True) as scope:
            known |= {id(v): value for v, value in zip(variables, values, strict=True)}
            scope.state_mapping.update(known)
            result = function(*arguments, **named)
        new = [scope.get_current_value(v) for v in variables]
        # Also where the dtype is right already: a Python number has left it "weak", and what a loop
        # carries may not change that.
        pairs = zip(new, variables, strict=True)
        return [jax.lax.convert_element_type(value, v.dtype) for value, v in pairs], result

    return call


def values_of(variables: Sequence[keras.Variable]) -> list[jax.Array]:
    """The values of variables inside of a `stateless` function."""
    return [keras.ops.convert_to_tensor(variable) for variable in variables]


def assign(variables: Sequence[keras.Variable], values: Sequence[jax.Array]) -> None:
    """Gives variables new values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def gradients(
    forward: Callable[[], tuple[Tensor, Any]],
    variables: Sequence[keras.Variable],
    others: Sequence[keras.Variable],
) -> tuple[list[Tensor | None], Any]:
    """Float32 gradients of this replica, and what else `forward` returns.

    Args:
        forward: Returns a scalar and a structure of tensors. It may assign to the variables.
        variables: Those to differentiate by.
        others: All further ones that `forward` may assign to.

    Returns:
        A list of gradients, None for a variable that the scalar does not depend on, and the
        structure.
    """
    run, fixed = stateless([*variables, *others], forward), values_of(others)

    def scalar_of(values: list[jax.Array]) -> tuple[jax.Array, tuple[list, Any]]:
        new, (scalar, results) = run([*values, *fixed])
        return scalar, (new[len(values) :], results)

    values = values_of(variables)
    # Traced once, looked at, then differentiated.
    program, shapes = jax.make_jaxpr(scalar_of, return_shape=True)(values)

    def flat(values: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        scalar, *rest = jaxpr_as_fun(program)(*values)
        return scalar, rest

    found, rest = jax.grad(flat, has_aux=True)(values)
    _, (new, results) = jax.tree.unflatten(jax.tree.structure(shapes), [None, *rest])
    assign(others, new)
    used = _first_output_uses(program.jaxpr)
    dense = [g.astype("float32") if u else None for g, u in zip(found, used, strict=True)]
    return dense, results


def _first_output_uses(jaxpr: Any) -> list[bool]:
    """For each argument, whether the first output may depend on it.

    JAX's gradient by what is not used is 0, and an optimizer would take that for a gradient: it
    would decay the weights of a pooler that has no head.
    """
    needed = {variable for variable in jaxpr.outvars[:1] if not isinstance(variable, Literal)}
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            needed.update(v for v in equation.invars if not isinstance(v, Literal))
    return [variable in needed for variable in jaxpr.invars]

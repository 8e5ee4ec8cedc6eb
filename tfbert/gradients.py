"""Gradients of one's own, `tf.custom_gradient`, that go with the graph that they are in.

In a graph, TensorFlow enters each call of such a function into a table of all gradients, and never
takes it out (2.20). The entry refers to tensors of the graph: what was ever trained stays in
memory. Here the graph holds its gradients, and the table only refers to them weakly.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def custom_gradient(function: Callable[..., tuple[Any, Callable]]) -> Callable[..., Any]:
    """`tf.custom_gradient(function)`, whose gradient lives as long as the graph that it is in.

    Args:
        function: Of tensors; returns its output, one tensor, and a function from the output's
            gradient to those of the arguments.
    """
    import tensorflow as tf

    differentiable = tf.custom_gradient(function)

    def call(*tensors: Any) -> Any:
        output = differentiable(*tensors)
        if not tf.executing_eagerly():
            _hold(output.op)
        return output

    return call


def hold_gradients() -> None:
    """Makes the graph that is being traced, if there is one, the owner of its gradients.

    For those that others define: TensorFlow's `all_reduce` has one.
    """
    import tensorflow as tf

    if tf.executing_eagerly():
        return
    for operation in tf.compat.v1.get_default_graph().get_operations():
        if operation.type == "IdentityN":
            _hold(operation)


def registered_gradients() -> dict[str, dict[str, Any]]:
    """TensorFlow's table of gradients: by name a dict whose `type` is the function.

    A private name; `tests/test_gradients.py` is the contract.
    """
    from tensorflow.python.framework import ops

    return ops.gradient_registry._registry


def _hold(operation: tf.Operation) -> None:
    """Makes the graph the only owner of an operation's gradient, if it has one of its own."""
    try:
        name = operation.get_attr("_gradient_op_type").decode()
    except ValueError:
        return
    graph, table = operation.graph, registered_gradients()
    if not hasattr(graph, "tfbert_gradients"):
        graph.tfbert_gradients = {}
    if name in graph.tfbert_gradients:
        return
    gradient = table[name]["type"]
    reference: Callable[[], Any] = weakref.ref(gradient, lambda _: table.pop(name, None))
    graph.tfbert_gradients[name] = gradient
    table[name]["type"] = lambda operation, *upstream: reference()(operation, *upstream)

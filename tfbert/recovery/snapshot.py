"""The whole state of a model and its optimizer as arrays by name, and back.

Names are variable paths: `model/token_embedding/embeddings`, `optimizer/lamb/...`,
`metrics/loss/total`. A variable that differs from replica to replica (a metric's sum before it is
reduced) has one array for each: `metrics/loss/total`, `metrics/loss/total@1`, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbert.errors import InputError
from tfbert.optimizers.backend import first_free, tf, variable_path
from tfbert.types import Tensor

if TYPE_CHECKING:
    import keras


def state_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """`{name: Keras variable}`: weights, optimizer with loss scale, metrics.

    States of seed generators are left out: dropout is a function of the update's number.
    Variables of one path are distinguished by `#2`, `#3` in the model's order.
    """
    groups = {
        "model": model.variables,
        "optimizer": model.optimizer.variables if model.optimizer else [],
        "metrics": model.metrics_variables,
    }
    named: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for group, variables in groups.items():
        for variable in variables:
            if "seed_generator" in variable.path or id(variable) in seen:
                continue
            seen.add(id(variable))
            # Keras numbers the optimizers of a process: `adam_w_1/iteration`.
            path = variable_path(variable)
            path = re.sub(r"^(\w+?)_\d+/", r"\1/", path) if group == "optimizer" else path
            named[first_free(f"{group}/{path}", named)] = variable
    return named


def non_finite_name(tensors: Mapping[str, np.ndarray]) -> str | None:
    """Name of the first array of weights or slots with an inf or a NaN in it; None without one."""
    for name, array in tensors.items():
        if name.startswith(("model/", "optimizer/")) and np.issubdtype(array.dtype, np.floating):
            flat, step = array.reshape(-1), 1 << 20
            if not all(np.isfinite(flat[i : i + step]).all() for i in range(0, flat.size, step)):
                return name
    return None


class HostCopy:
    """Copies variables into arrays that are made once.

    The training thread waits for the copy, and to allocate the arrays takes as long as to copy.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def prepare(self, variables: Mapping[str, keras.Variable]) -> None:
        """Makes the arrays of `{name: variable}`, which may take as long as two copies."""
        for name, tensor in _tensors(variables):
            self._array_for(name, tensor)

    def copy(self, variables: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
        """`{name: array}` of `{name: variable}`; the next call overwrites the arrays."""
        copies = {}
        for name, tensor in _tensors(variables):
            array = copies[name] = self._array_for(name, tensor)
            np.copyto(array, _as_array(tensor))
        return copies

    def _array_for(self, name: str, tensor: Tensor) -> np.ndarray:
        array = self._arrays.get(name)
        if array is None:
            # TensorFlow's dtypes are not NumPy's; JAX' are.
            dtype = getattr(tensor.dtype, "as_numpy_dtype", tensor.dtype)
            array = self._arrays[name] = np.zeros(tensor.shape, dtype)
            array.fill(1)  # the system gives no memory for zeros alone
        return array


def assign(variables: Mapping[str, keras.Variable], tensors: Mapping[str, np.ndarray]) -> None:
    """Gives all variables of a model the values of a checkpoint, on any number of replicas.

    Args:
        tensors: `{name: array}` of `HostCopy.copy`; other names may be among them.

    Raises:
        InputError: If weights or optimizer are not those of the checkpoint.
    """
    _check_same(variables, tensors)
    assign_some(variables, tensors)


def assign_some(variables: Mapping[str, keras.Variable], tensors: Mapping[str, np.ndarray]) -> None:
    """`assign` to those of the variables that are in the checkpoint."""
    for name, variable in variables.items():
        if name not in tensors:
            continue
        saved = [tensors[name]]
        while (other := f"{name}@{len(saved)}") in tensors:
            saved.append(tensors[other])
        parts = _components(variable) or [variable]
        if len(saved) != len(parts):
            # Another number of replicas: sums, which the first may hold alone, or means.
            is_mean = variable.aggregation == "mean"
            total = np.sum(saved, axis=0, dtype=saved[0].dtype)
            rest = [np.zeros_like(total)] * (len(parts) - 1)
            saved = [total / len(saved)] * len(parts) if is_mean else [total, *rest]
        for part, value in zip(parts, saved, strict=True):
            # TensorFlow may take an array's memory for the variable's own, and write to it.
            part.assign(np.array(value))


def _check_same(variables: Mapping[str, keras.Variable], tensors: Mapping[str, np.ndarray]) -> None:
    """Raises InputError unless `tensors` has exactly the weights and slots of `variables`, in their
    shapes."""

    def kept(names: Iterable[str]) -> set[str]:
        return {name for name in names if name.startswith(("model/", "optimizer/"))}

    missing, unknown = kept(variables) - kept(tensors), kept(tensors) - kept(variables)
    if missing or unknown:
        raise InputError(
            "the checkpoint is of another model or optimizer: it lacks "
            f"{_some(missing)}, and has {_some(unknown)} in addition"
        )
    for name in sorted(kept(variables)):
        here, there = tuple(variables[name].shape), tensors[name].shape
        if here != there:
            raise InputError(f"the checkpoint is of another model: {name} is {there}, not {here}")


def _some(names: set[str]) -> str:
    """The first two, and how many more there are."""
    first = ", ".join(sorted(names)[:2])
    return first + (f" and {len(names) - 2} more" if len(names) > 2 else "") or "none"


def _tensors(variables: Mapping[str, keras.Variable]) -> Iterator[tuple[str, Tensor]]:
    """Pairs of name and tensor; a tensor shares the variable's memory."""
    if tf is None:
        for variable in variables.values():
            variable.value.copy_to_host_async()  # from a device all at once
        yield from ((name, variable.value) for name, variable in variables.items())
        return
    for name, variable in variables.items():
        # Of equal copies on all devices the first.
        value = variable.value
        components = _components(variable) or getattr(value, "values", [value])[:1]
        if getattr(variable, "aggregation", None) == "only_first_replica":
            components = components[:1]  # the others count for nothing
        for number, component in enumerate(components):
            # The bare operation: `read_value` takes four times as long, and there are hundreds.
            tensor = tf.raw_ops.ReadVariableOp(resource=component.handle, dtype=component.dtype)
            yield f"{name}@{number}" if number else name, tensor


def _components(variable: keras.Variable) -> Any:
    """The parts of a variable that differs from replica to replica; empty for any other.

    On JAX there are none: what replicas have summed up is one number after each execution.
    """
    if tf is None:
        return ()
    value = variable.value
    on_read = tf.VariableSynchronization.ON_READ
    return value.values if hasattr(value, "values") and value.synchronization is on_read else ()


def _as_array(tensor: Tensor) -> np.ndarray:
    """The tensor's values; on a CPU its own memory, not a copy."""
    if tf is None:
        return np.asarray(tensor)
    try:
        return np.asarray(memoryview(tensor))
    except (BufferError, ValueError, TypeError, RuntimeError):
        return tensor.numpy()  # another device, or bfloat16, which the buffer protocol lacks

"""The state of one optimizer carried over to another, path by path: ours and Keras' own."""

from collections.abc import Callable

import keras
from keras import ops

from tfbert.optimizers.backend import variable_path


def carry_over(
    source: keras.optimizers.Optimizer,
    target: keras.optimizers.Optimizer,
    rename: Callable[[str], str | None] | None = None,
) -> list[str]:
    """Copies the state of one optimizer into another one of the same class.

    For a grown model whose optimizer is new. The number of updates is copied, and so are loss scale
    and counters. `AdamW` and `LAMB` correct the bias of new slots by their own age; Keras'
    optimizers know one age only, so that their first updates from zeros are up to
    (1 - beta_1) / sqrt(1 - beta_2) times as large, 3.2 for Adam: let the rate rise from 0.

    Args:
        source, target: Built; `target` in the strategy's scope.
        rename: Function from the path of a variable of `target` to that in `source`, or to None
            for state that starts from zeros. None means the same path. So a new layer can start
            with the state of the layer that it was copied from.

    Returns:
        List of the paths that start from zeros.

    Raises:
        ValueError: One of the two is not built.
        TypeError: They are of different classes.
    """
    if hasattr(target, "carry_over"):
        return target.carry_over(source, rename)
    check_pair(source, target)
    target._iterations.assign(ops.convert_to_tensor(source._iterations))
    theirs, fresh = _stock_slots(source), []
    for path, slots in _stock_slots(target).items():
        origin = rename(path) if rename else path
        old = None if origin is None else theirs.get(origin)
        if old is None or any(old[name].shape != slots[name].shape for name in slots):
            fresh.append(path)
            continue
        for name, slot in slots.items():
            slot.assign(ops.convert_to_tensor(old[name]))
    return fresh


def check_pair(source: keras.optimizers.Optimizer, target: keras.optimizers.Optimizer) -> None:
    """Raises TypeError for optimizers of different classes, ValueError if one is not built."""
    if type(source) is not type(target):
        raise TypeError(f"carry_over from {type(source).__name__} to {type(target).__name__}")
    if not (source.built and target.built):
        raise ValueError("carry_over needs both optimizers built")


def _stock_slots(
    optimizer: keras.optimizers.Optimizer,
) -> dict[str, dict[str, keras.Variable]]:
    """`{path of a model's variable: {name: slot}}` of one of Keras' own optimizers, built.

    Keras keeps the slots of a kind in one list, in the order of the variables.
    """
    variables = optimizer._trainable_variables
    lists = {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, list)
        and value
        and value is not variables
        and len(value) == len(variables)
        and all(isinstance(item, keras.Variable) for item in value)
    }
    return {
        variable_path(variable): {name: value[number] for name, value in lists.items()}
        for number, variable in enumerate(variables)
    }

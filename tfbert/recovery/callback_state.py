"""The state of callbacks, so that they continue as if the run had not been interrupted.

A callback takes part with `get_state()`, which returns what JSON can hold, and `set_state(state)`,
which is called after `on_train_begin` and, in the middle of an epoch, `on_epoch_begin`. Of Keras'
own callbacks some attributes are saved.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.whole import write_bytes

log = logging.getLogger("tfbert")

# Private names among them: `tests/recovery/test_callback_state.py` is the contract with Keras.
_ATTRIBUTES = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch"),
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
}


def check_callbacks(callbacks: list[keras.callbacks.Callback]) -> None:
    """Warns of the callbacks whose state is not saved.

    Raises:
        InputError: If one of them restores runs itself.
    """
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise InputError(
                "the callback BackupAndRestore and recovery=... both restore a run: leave "
                "BackupAndRestore out"
            )
        is_of_library = type(callback).__module__.startswith(("keras.", "tfbert."))
        if not (is_of_library or hasattr(callback, "get_state") or _attributes(callback)):
            log.warning(
                "callback %s has no get_state and set_state: a resumed run starts it anew",
                type(callback).__name__,
            )


def callback_states(
    callbacks: list[keras.callbacks.Callback],
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What a checkpoint holds of the callbacks.

    Returns:
        A list for JSON, in the order of the callbacks, and `{name: array}`.
    """
    states: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for index, callback in enumerate(callbacks):
        states.append({"class": type(callback).__name__, "state": _state_of(callback)})
        for number, array in enumerate(getattr(callback, "best_weights", None) or ()):
            arrays[_array_name(index, number)] = np.asarray(array)
    return states, arrays


def continue_files(callbacks: list[keras.callbacks.Callback], saved: list[dict[str, Any]]) -> None:
    """Before `on_train_begin`: cuts log files back to what they held when `saved` was taken."""
    for callback, _, state in _matched(callbacks, saved):
        if isinstance(callback, keras.callbacks.CSVLogger) and state:
            if (file := getattr(callback, "csv_file", None)) and not file.closed:
                file.flush()  # in the middle of training, after a rollback
                file.truncate(state["bytes"])
                file.seek(0, os.SEEK_END)
                continue
            try:
                content = as_path(callback.filename).read_bytes()
                write_bytes(callback.filename, content[: state["bytes"]])
            except OSError as error:
                log.warning("%s starts anew: %s", callback.filename, error)
                continue
            callback.append = True


def restore_callbacks(
    callbacks: list[keras.callbacks.Callback],
    saved: list[dict[str, Any]],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Restores the state of callbacks from the two results of `callback_states`."""
    for callback, index, state in _matched(callbacks, saved):
        if hasattr(callback, "set_state"):
            callback.set_state(state)
            continue
        for name in _attributes(callback):
            setattr(callback, name, state[name])
        weights: list[np.ndarray] = []
        while (name := _array_name(index, len(weights))) in arrays:
            weights.append(arrays[name])
        if weights:
            callback.best_weights = weights


def _matched(
    callbacks: list[keras.callbacks.Callback], saved: list[dict[str, Any]]
) -> Iterator[tuple[keras.callbacks.Callback, int, Any]]:
    """Triples of a callback, its index when it was saved, and its state.

    The n-th callback of a class now is taken for the n-th of that class then.
    """
    rest = list(enumerate(saved))
    for callback in callbacks:
        name = type(callback).__name__
        found = next((pair for pair in rest if pair[1]["class"] == name), None)
        if found is None:
            log.warning("callback %s was not there before: it starts anew", name)
            continue
        rest.remove(found)
        if found[1]["state"] is not None:
            yield callback, found[0], found[1]["state"]


def _state_of(callback: keras.callbacks.Callback) -> Any:
    if hasattr(callback, "get_state"):
        state = _plain(callback.get_state())
        try:
            return json.loads(json.dumps(state))
        except TypeError as error:
            name = type(callback).__name__
            raise InputError(
                f"{name}.get_state() must return what JSON can hold: {error}"
            ) from error
    if isinstance(callback, keras.callbacks.CSVLogger):
        return {"bytes": as_path(callback.filename).stat().st_size}
    names = _attributes(callback)
    return {name: _plain(getattr(callback, name)) for name in names} or None


def _attributes(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    return next((names for kind, names in _ATTRIBUTES.items() if isinstance(callback, kind)), ())


def _plain(value: Any) -> Any:
    """Numbers of NumPy and tensors as Python's numbers, also inside lists and dictionaries."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "numpy"):
        value = value.numpy()
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def _array_name(index: int, number: int) -> str:
    return f"callbacks/{index}/best_weights/{number}"

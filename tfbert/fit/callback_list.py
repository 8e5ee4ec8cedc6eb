"""The callbacks of `fit`, `evaluate` and `predict`, on one worker of several."""

from typing import Any

import keras

from tfbert.hardware.strategies import is_chief
from tfbert.optimizers.logger import OptimizerLogger

_FILE_WRITERS = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
    OptimizerLogger,
)


def make_callback_list(
    model: keras.Model,
    callbacks: Any,
    steps: int | None,
    verbose: int | str,
    epochs: int = 1,
    add_history: bool = False,
) -> keras.callbacks.CallbackList:
    """Keras' list of callbacks, with the progress bar.

    Only the chief has a bar, and callbacks that write files: the other workers see the same
    numbers, and would write over the chief's files.

    Args:
        callbacks, verbose, epochs: As in Keras' `fit`. A `CallbackList` is returned as it is.
        steps: Steps an epoch, or None where they are not known.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    if not is_chief(model.distribute_strategy):
        given = keras.tree.flatten(callbacks or [])
        callbacks = [c for c in given if not isinstance(c, _FILE_WRITERS)]
        verbose = 0
    return keras.callbacks.CallbackList(
        callbacks,
        add_history=add_history,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
        model=model,
    )

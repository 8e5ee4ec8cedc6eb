"""How a notebook begins: a quiet kernel, and a clear line where it cannot go on."""

import logging
import sys

from tfbert.io.terminal import silence_libraries
from tfbert.notebook.hardware import is_tpu_runtime, use_tpu


def begin(progress: bool = True) -> None:
    """Sets up a notebook's kernel; to be called before Keras is imported.

    On a TPU runtime of Colab or Kaggle, Keras runs on JAX, as with `KERAS_BACKEND=jax`.

    What the libraries tell themselves is left out (`silence_libraries`); lines of tfbert stay.

    Args:
        progress: Whether tfbert tells what it does, line by line.

    Raises:
        InputError: On a TPU runtime without JAX, or where Keras runs already, with what to do.
    """
    if is_tpu_runtime():
        use_tpu()
    stream = sys.stderr
    silence_libraries()
    sys.stderr = stream  # the notebook's own, which knows the cell that writes
    # In a notebook TensorFlow sets the level of its log when it is imported; a filter stays.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    log = logging.getLogger("tfbert")
    log.setLevel(logging.INFO if progress else logging.WARNING)
    # A handler of our own: the root's, where Colab has one, would add names and levels.
    log.handlers = [logging.StreamHandler(sys.stdout)]
    log.handlers[0].setFormatter(logging.Formatter("%(message)s"))
    log.propagate = False

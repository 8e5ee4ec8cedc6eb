"""How a notebook begins: a quiet kernel, and a clear line where it cannot go on."""

import logging
import os
import sys
import warnings

from tfbert.notebook.hardware import TPU_RUNTIME, is_tpu_runtime


def begin(progress: bool = True) -> None:
    """Sets up a notebook's kernel; to be called before TensorFlow is imported.

    What TensorFlow, absl and Keras tell themselves is left out, warnings and errors of the
    libraries that a reader can do nothing about included. Lines of tfbert itself stay.

    Args:
        progress: Whether tfbert tells what it does, line by line.

    Raises:
        InputError: On a TPU runtime of Colab or Kaggle, with what to do.
    """
    if is_tpu_runtime():
        from tfbert.errors import InputError

        raise InputError(TPU_RUNTIME)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TQDM_MININTERVAL", "1")  # a notebook keeps every state of a bar
    for category in (DeprecationWarning, FutureWarning, UserWarning):
        warnings.filterwarnings("ignore", category=category)
    for name in ("absl", "tensorflow", "h5py", "jax"):
        logging.getLogger(name).setLevel(logging.ERROR)
    log = logging.getLogger("tfbert")
    log.setLevel(logging.INFO if progress else logging.WARNING)
    # A handler of our own: the root's, where Colab has one, would add names and levels.
    log.handlers = [logging.StreamHandler(sys.stdout)]
    log.handlers[0].setFormatter(logging.Formatter("%(message)s"))
    log.propagate = False

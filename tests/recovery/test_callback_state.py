"""The contract with Keras: the attributes of its callbacks that are saved."""

import keras
import pytest

from tfbert.recovery.callback_state import _ATTRIBUTES


@pytest.mark.parametrize("kind", _ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_a_callback_still_has(kind):
    callback = kind("x.keras") if kind is keras.callbacks.ModelCheckpoint else kind()
    if kind is not keras.callbacks.TensorBoard:
        callback.on_train_begin()
    missing = [name for name in _ATTRIBUTES[kind] if not hasattr(callback, name)]
    assert missing == [], f"of {kind.__name__} in Keras {keras.__version__}"

"""Trains, evaluates and predicts on JAX where TensorFlow cannot be imported."""

import sys


class Missing:
    """An entry of `sys.meta_path`: TensorFlow is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_text"):
            raise ModuleNotFoundError(f"no {name}", name=name)


sys.meta_path.insert(0, Missing)

import numpy as np  # noqa: E402
from helpers.small_models import LINEAR_X, LINEAR_Y, make_linear  # noqa: E402
from helpers.small_pretrainer import random_records, small_pretrainer  # noqa: E402

import tfbert  # noqa: E402

with tfbert.get_strategy("cpu").scope():
    model, pretrainer = make_linear(dropout=0.1), small_pretrainer()
    model.compile(tfbert.AdamW(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(LINEAR_X, LINEAR_Y, batch_size=11, epochs=2, verbose=0).history
assert np.isfinite([history["loss"], model.evaluate(LINEAR_X, LINEAR_Y, 11, verbose=0)]).all()
assert model.predict(LINEAR_X, 11, verbose=0).shape == (33, 3)
inputs, _, _ = random_records(8)
outputs = pretrainer.predict_on_batch(inputs)
assert outputs["mlm"].shape == (8, 4, 50) and outputs["nsp"].shape == (8, 2)
assert "tensorflow" not in sys.modules
print("trained")

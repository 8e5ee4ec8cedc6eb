"""Trains, evaluates and predicts on JAX where TensorFlow cannot be imported."""

import sys


class Missing:
    """An entry of `sys.meta_path`: TensorFlow is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_text"):
            raise ModuleNotFoundError(f"no {name}", name=name)


sys.meta_path.insert(0, Missing)

import keras  # noqa: E402
import numpy as np  # noqa: E402
from helpers.small_models import LINEAR_X, LINEAR_Y, make_linear  # noqa: E402
from helpers.small_pretrainer import random_records, small_pretrainer  # noqa: E402

import tfbert  # noqa: E402
from tfbert.fit.batches.preprocessing import preprocessed  # noqa: E402

with tfbert.get_strategy("cpu").scope():
    model, pretrainer = make_linear(dropout=0.1), small_pretrainer()
    model.compile(tfbert.AdamW(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(LINEAR_X, LINEAR_Y, batch_size=11, epochs=2, verbose=0).history
assert np.isfinite([history["loss"], model.evaluate(LINEAR_X, LINEAR_Y, 11, verbose=0)]).all()
assert model.predict(LINEAR_X, 11, verbose=0).shape == (33, 3)
inputs, _, _ = random_records(8)
outputs = pretrainer.predict_on_batch(inputs)
assert outputs["mlm"].shape == (8, 4, 50) and outputs["nsp"].shape == (8, 2)
texts, labels = ["good film", "bad", "a long and dull film", "good"] * 4, np.array([1, 0, 0, 1] * 4)
classifier = tfbert.TextClassifier.from_preset("embedded", num_classes=2, activation="softmax")
classifier.compile(tfbert.LAMB(3e-3), "sparse_categorical_crossentropy")
history = classifier.fit(texts, labels, batch_size=4, epochs=2, validation_split=0.25, verbose=0)
assert np.isfinite(history.history["val_loss"]).all()
assert classifier.predict(texts[:3], verbose=0).shape == (3, 2)
for wrong in (["good", None], (text for text in texts)):
    try:
        classifier.predict(wrong, verbose=0)
    except ValueError as error:
        assert "text 1 is None" in str(error) or "generator: give arrays" in str(error), error
    else:
        raise AssertionError("what is no text was taken")
orders = []
for _ in range(2):
    keras.utils.set_random_seed(0)
    data, _ = preprocessed(classifier, texts, y=np.arange(16), shuffle=True, batch_size=16)
    orders += [next(iter(data))[1].tolist() for _ in range(2)]
assert orders[:2] == orders[2:] and orders[0] != orders[1] and sorted(orders[0]) == [*range(16)]
assert "tensorflow" not in sys.modules
print("trained")

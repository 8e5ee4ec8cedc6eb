"""KERAS_BACKEND=jax: the encoder inside jax.jit against KerasHub's, with and without dropout.

Prints the name of each part that passed.
"""

import jax
import keras
import keras_hub
import numpy as np

from tfbert.models.dropout import Dropout
from tfbert.models.encoder import from_stock, weights_by_path

CONFIG = {
    "vocabulary_size": 90,
    "num_layers": 1,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 64,
    "max_sequence_length": 24,
}
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(5, 90, (4, 17)).astype("int32")
INPUTS = {
    "token_ids": IDS,
    "segment_ids": (IDS % 2).astype("int32"),
    "padding_mask": (np.arange(17) < np.array([[17], [1], [9], [16]])).astype("int32"),
}
PROJECTION = RANDOM.normal(size=(4, 17, 32)).astype("float32")


def main():
    assert keras.backend.backend() == "jax"
    stock = keras_hub.models.BertBackbone(**CONFIG, dropout=0.1)
    for variable in weights_by_path(stock).values():
        variable.assign(np.asarray(variable) + 0.1 * RANDOM.normal(size=variable.shape))
    check_stock(stock)
    print("stock")
    check_dropout()
    print("dropout")
    check_rematerialisation(stock)
    print("rematerialisation")
    check_fit(stock)
    print("fit")


def gradients(model, training):
    """Output and gradients by path, from one compiled function."""
    fixed = [v.value for v in model.non_trainable_variables]

    def loss(weights):
        outputs, _ = model.stateless_call(weights, fixed, INPUTS, training=training)
        return (outputs["sequence_output"] * PROJECTION).sum(), outputs["sequence_output"]

    weights = [v.value for v in model.trainable_variables]
    (_, output), found = jax.jit(jax.value_and_grad(loss, has_aux=True))(weights)
    paths = [v.path for v in model.trainable_variables]
    return np.asarray(output), dict(zip(paths, map(np.float64, found), strict=True))


def distance(a, b):
    return np.sqrt(sum(np.sum((a[k] - b[k]) ** 2) for k in b) / sum(np.sum(b[k] ** 2) for k in b))


def check_stock(stock):
    expected, expected_gradients = gradients(stock, training=False)
    output, found = gradients(from_stock(stock, dropout=0.0), training=True)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    assert distance(found, expected_gradients) < 1e-5


def check_dropout():
    for bits, used in ((8, 26 / 256), (16, 6554 / 65536)):
        layer = Dropout(0.1, bits=bits, seed=1)
        outputs = np.asarray(layer(np.ones(400_000, "float32"), training=True))
        assert abs((outputs == 0).mean() - used) < 4 * np.sqrt(used * (1 - used) / outputs.size)
        np.testing.assert_allclose(outputs[outputs != 0], 1 / (1 - used), rtol=1e-6)
        kept = outputs != 0
        for lag in (1, 2, 4, 384):
            score = np.corrcoef(kept[:-lag], kept[lag:])[0, 1] * np.sqrt(outputs.size)
            assert abs(score) < 4


def check_rematerialisation(stock):
    """The seeds are the generators' states, which both models start with alike."""
    plain = from_stock(stock, dropout=0.2)
    remade = from_stock(stock, dropout=0.2, rematerialize=True)
    for a, b in zip(plain.non_trainable_variables, remade.non_trainable_variables, strict=True):
        b.assign(a)
    output, expected = gradients(plain, training=True)
    same, found = gradients(remade, training=True)
    np.testing.assert_allclose(same, output, rtol=1e-5, atol=1e-5)
    assert distance(found, expected) < 1e-5
    without, _ = gradients(plain, training=False)
    assert np.abs(output - without).max() > 0.1


def check_fit(stock):
    encoder = from_stock(stock, rematerialize=True)
    outputs = keras.layers.Dense(1)(encoder(encoder.input)["pooled_output"])
    model = keras.Model(encoder.input, outputs)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    history = model.fit(INPUTS, np.ones((4, 1)), epochs=8, batch_size=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


if __name__ == "__main__":
    main()

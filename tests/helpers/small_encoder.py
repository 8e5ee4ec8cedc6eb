"""A small encoder, inputs for it and ways to compare; for TensorFlow and JAX alike."""

import keras
import keras_hub
import numpy as np

from tfbert.models.encoder import weights_by_path

CONFIG = {
    "vocabulary_size": 90,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 64,
    "max_sequence_length": 24,
}
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(5, 90, (6, 17)).astype("int32")
LENGTHS = np.array([17, 1, 9, 16, 17, 0])  # the last row is padding only
INPUTS = {
    "token_ids": IDS,
    "segment_ids": (IDS % 2).astype("int32"),
    "padding_mask": (np.arange(17) < LENGTHS[:, None]).astype("int32"),
}
PROJECTION = RANDOM.normal(size=(6, 17, 32)).astype("float32")


def make_stock(**options):
    """KerasHub's encoder, its weights away from their initial values."""
    keras.utils.set_random_seed(1)
    stock = keras_hub.models.BertBackbone(**{**CONFIG, "dropout": 0.1, **options})
    return move_weights(stock, 0.1)


def move_weights(model, scale):
    """Adds normal noise to all weights, so that those which begin with 0 or 1 count."""
    random = np.random.default_rng(1)
    for variable in weights_by_path(model).values():
        variable.assign(np.asarray(variable) + scale * random.normal(size=variable.shape))
    return model


def assert_same_weights(model, other):
    """Bit for bit, matched by their paths."""
    ours, theirs = weights_by_path(model), weights_by_path(other)
    assert ours.keys() == theirs.keys()
    for path, variable in ours.items():
        np.testing.assert_array_equal(variable, theirs[path], path)


def distance(a, b):
    """Relative distance of all gradients together; `a` may hold more than `b`."""
    return np.sqrt(sum(np.sum((a[k] - b[k]) ** 2) for k in b) / sum(np.sum(b[k] ** 2) for k in b))

"""A small pre-training model and made-up records for it."""

import keras
import numpy as np

from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.text.vocabulary import SPECIAL_TOKENS

SIZE = BertSize(num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=32)
TEXT = "good . a long and dull film , at least for those of us who were awake"
PIECES = [*SPECIAL_TOKENS, *TEXT.split(), *(f"w{number}" for number in range(28))]  # 50


def small_pretrainer(size=SIZE, **options):
    """A `BertPretrainer` with the same weights each time."""
    keras.utils.set_random_seed(1)
    defaults = {"vocabulary_size": 50, "max_sequence_length": 12, "dropout": 0.0}
    return make_pretrainer(size, **{**defaults, **options})


def compiled(model, optimizer="sgd", **options):
    """The model, with the losses and metrics of pre-training."""
    model.compile(
        optimizer,
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
        jit_compile=False,
        **options,
    )
    return model


def random_records(examples=4, length=12, predictions=4, vocabulary=50):
    """(inputs, targets, weights) as records give them; the last prediction is padding."""
    random = np.random.default_rng(0)
    ids = random.integers(5, vocabulary, (examples, length)).astype("int32")
    places = random.permuted(np.tile(np.arange(1, length), (examples, 1)), axis=1)
    positions = np.sort(places[:, :predictions], axis=1).astype("int32")
    positions[:, -1] = 0
    weights = np.ones(positions.shape, "float32")
    weights[:, -1] = 0
    originals = np.take_along_axis(ids, positions, axis=1)
    masked = ids.copy()
    np.put_along_axis(masked, positions[:, :-1], 4, axis=1)
    second = np.arange(length, dtype="int32") > length // 2
    inputs = {
        "token_ids": masked,
        "segment_ids": np.tile(second.astype("int32"), (examples, 1)),
        "padding_mask": np.ones_like(ids),
        "mask_positions": positions,
    }
    targets = {"mlm": originals, "nsp": random.integers(0, 2, examples).astype("int32")}
    return inputs, targets, {"mlm": weights, "nsp": np.ones(examples, "float32")}

"""Real pre-trained weights, where `../shared/data` or `TFBERT_TEST_DATA` has them."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from tfbert.models.sources import load_encoder
from tfbert.tasks.batching import collate, padded_lengths
from tfbert.tasks.tokenization import tokenize

DATA = Path(
    os.environ.get("TFBERT_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")
)
TEXTS = [
    "a charming , funny and quietly moving film .",
    "the plot makes no sense , the jokes fall flat and the ending is an insult to the audience .",
    "unflinchingly bleak and desperate",
]


@pytest.mark.skipif(not (DATA / "minilm").exists(), reason="needs ../shared/data/minilm")
def test_tanh_gelu_moves_the_outputs_of_minilm_by_a_few_thousandths(caplog):
    """The README's number: weights made for erf GELU, run with BERT's tanh GELU."""
    with caplog.at_level("INFO", "tfbert"):
        encoder = load_encoder(str(DATA / "minilm"), "float32")
    assert "erf GELU" in caplog.text
    tokens = tokenize(encoder.tokenizer, TEXTS, 64)
    inputs = collate(tokens, np.arange(len(TEXTS)), padded_lengths(64))
    real = inputs["padding_mask"].astype(bool)
    ours = np.asarray(encoder.backbone(inputs)["sequence_output"])[real]
    for layer in encoder.backbone.transformer_layers:
        layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    theirs = np.asarray(encoder.backbone(inputs)["sequence_output"])[real]
    moved = np.abs(ours - theirs).max()
    print(f"largest difference: {moved:.1e}")
    assert 1e-4 < moved < 5e-3

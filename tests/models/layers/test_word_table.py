"""A word table of the rows that occur trains as the whole one does."""

import numpy as np
import pytest
from helpers.processes import finish, start
from helpers.word_tables import OCCURRING, batches_of, check, make_model, make_texts

import tfbert
from tfbert.hardware.strategies import get_strategy
from tfbert.models.layers.word_table import OccurringWords


def test_the_same_bits():
    assert check(get_strategy("cpu")) == 24


@pytest.mark.slow
def test_on_two_replicas_in_parts_of_the_batch_with_clipped_gradients(two_replicas):
    options = {"max_grad_norm": 0.05, "accumulate_steps": 2, "jit_compile": False}
    assert check(two_replicas, 1e-6, **options) == 24


def test_updates_that_an_overflow_skips_decay_nothing():
    # The gradients are finite in float16 at a scale of 2**15, as in practice.
    options = {"dtype": "mixed_float16", "scale": 2.0**27, "jit_compile": False}
    updates = check(get_strategy("cpu"), **options)
    assert 15 <= updates < 27


@pytest.mark.slow
def test_on_jax():
    pytest.importorskip("jax")
    code = """
import keras
from helpers.word_tables import check
from tfbert.hardware.strategies import get_strategy
assert keras.backend.backend() == "jax"
print(check(get_strategy("cpu", 2)))
"""
    found = finish(start(["-c", code], KERAS_BACKEND="jax", JAX_PLATFORMS="cpu"), 120)
    assert found.split() == ["24"]


def compiled(optimizer, trainable=True):
    model = make_model()
    model.backbone.token_embedding.trainable = trainable
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize(
    ("optimizer", "ids", "trainable"),
    [
        (tfbert.LAMB, OCCURRING, True),
        (tfbert.LARS, OCCURRING, True),
        (tfbert.AdamW, np.arange(1, 78), True),
        (tfbert.AdamW, OCCURRING, False),
    ],
)
def test_the_table_stays_whole(optimizer, ids, trainable):
    """Where other rows count for the trust ratio, nearly all occur, or it is frozen."""
    model = compiled(optimizer(1e-3), trainable)
    table = model.backbone.token_embedding.embeddings
    texts = make_texts(ids, 40)
    words = OccurringWords(model, [texts])
    assert words.for_model(batches_of(texts)).texts.row_of is None
    words.put_back(5)
    assert model.backbone.token_embedding.embeddings is table


def test_excluded_tables_and_no_decay_leave_the_other_rows_alone():
    model = compiled(tfbert.AdamW(0.1))
    table = model.backbone.token_embedding.embeddings
    schedule = tfbert.WarmupPolynomialDecay(0.1, 9)
    for options in ({"weight_decay": 0.0}, {"exclude_from_weight_decay": ["token_emb"]}):
        assert tfbert.AdamW(schedule, **options).left_without_gradient(table, 9) == 1.0
    assert tfbert.AdamW(schedule).left_without_gradient(table, 0) == 1.0
    with pytest.raises(ValueError, match="of a schedule only"):
        model.optimizer.left_without_gradient(table, 9)

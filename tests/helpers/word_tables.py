"""The same training with a whole word table and with the rows that occur; on either backend."""

import keras
import numpy as np

import tfbert
from tfbert.models.encoder import BertEncoder, weights_by_path
from tfbert.models.layers.word_table import OccurringWords
from tfbert.optimizers.loss_scale import innermost
from tfbert.tasks.tokens.batch_sources import TrainingBatches, prediction_inputs
from tfbert.tasks.tokens.batching import LengthBatches
from tfbert.tasks.tokens.encoded import RowTargets
from tfbert.tasks.tokens.tokenization import TokenizedTexts

VOCABULARY, BATCH, EPOCHS = 80, 4, 8
OCCURRING = np.arange(3, 60, 4)  # ids; 0 is padding
OTHERS = np.setdiff1d(np.arange(1, VOCABULARY), OCCURRING)
RATE, UPDATES, WARM_UP, DECAY = 2e-2, 24, 6, 0.1
TABLE = "token_embedding/embeddings"


def make_texts(ids, count=12):
    """Rows of unequal length; all ids occur."""
    lengths = 3 + np.arange(count) % 6
    starts = np.append(0, np.cumsum(lengths))
    values = np.resize(ids, starts[-1]).astype(np.int32)
    return TokenizedTexts(values, starts, lengths, 0, 0, 0)


def make_model(dtype="float32"):
    keras.utils.set_random_seed(3)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    backbone = BertEncoder(VOCABULARY, **sizes, dropout=0.0, max_sequence_length=8, dtype=dtype)
    return tfbert.BertClassifier(backbone, num_classes=2, dropout=0.0)


def batches_of(texts):
    labels = np.arange(len(texts)) // 3 % 2
    targets = RowTargets(labels, np.ones(len(texts), np.float32))
    return TrainingBatches(texts, LengthBatches(texts.lengths, BATCH, 1), np.array([8]), targets)


def outputs_of(model, texts):
    inputs = prediction_inputs(texts, np.arange(len(texts)), np.array([8]))
    return np.asarray(model.predict_on_batch(inputs))


def train(strategy, whole, dtype="float32", scale=None, accumulate_steps=1, **options):
    """24 updates, 27 where the first three overflow.

    Args:
        scale: Of the loss at first, where there is one.
        **options: Of `tfbert.AdamW`.

    Returns:
        `{name: array}`: weights, the optimizer's state, and outputs before and after `put_back`, of
        texts whose words occur and, after it, of others.
    """
    with strategy.scope():
        model = make_model(dtype)
        schedule = tfbert.WarmupPolynomialDecay(RATE, UPDATES, warmup_steps=WARM_UP)
        optimizer = tfbert.AdamW(schedule, weight_decay=DECAY, **options)
        if scale:
            optimizer = tfbert.LossScaleOptimizer(optimizer, initial_scale=scale)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, accumulate_steps=accumulate_steps, seed=1)
        before = np.array(weights_by_path(model)[TABLE])
        batches = batches_of(make_texts(OCCURRING))
        words = OccurringWords(model, [batches.texts], whole=whole)
    assert words.rows == (VOCABULARY if whole else 1 + len(OCCURRING))
    epochs = EPOCHS + bool(scale)
    model.fit(words.for_model(batches), epochs=epochs, verbose=0)
    found = {"meanwhile": outputs_of(model, words.for_model(batches).texts)}
    updates = int(np.array(innermost(model.optimizer).iterations))
    with strategy.scope():
        words.put_back(updates)
    assert words.rows == VOCABULARY
    found |= {path: np.array(v) for path, v in weights_by_path(model).items()}
    for path, slots in innermost(model.optimizer).all_slots():
        found |= {f"{path}|{name}": np.array(slot) for name, slot in slots.items()}
    found |= {"before": before, "updates": np.array(updates)}
    found["afterwards"] = outputs_of(model, words.for_model(batches).texts)
    found["others"] = outputs_of(model, make_texts(OTHERS))
    return found


def rates(updates):
    """Of the first updates, as they were made."""
    steps = np.arange(updates)
    falling = (UPDATES - steps) / (UPDATES - WARM_UP)
    return RATE * np.where(steps < WARM_UP, steps / WARM_UP, falling)


def check(strategy, bound=None, **options):
    """Both trainings end in the same bits, but for the rounding of the other rows.

    Args:
        bound: Of the relative difference of all weights together, where gradients are clipped: with
            fewer zeros in it, the sum of their squares is rounded in another order.
        **options: Of `train`.

    Returns:
        How many updates there were.
    """
    one, two = (train(strategy, whole, **options) for whole in (True, False))
    assert one.keys() == two.keys()
    updates = int(one["updates"])
    left = np.prod(1.0 - DECAY * rates(updates))
    assert 0.9 < left < 0.99
    for result in (one, two):
        table = result[TABLE]
        np.testing.assert_allclose(table[OTHERS], result["before"][OTHERS] * left, rtol=1e-6)
        assert not np.any(result[f"{TABLE}|momentum"][OTHERS])
        assert np.all(np.any(result[f"{TABLE}|momentum"][OCCURRING], axis=-1))
        np.testing.assert_allclose(result["meanwhile"], result["afterwards"], atol=1e-6)
    for name in ("meanwhile", "others"):
        np.testing.assert_allclose(one[name], two[name], atol=1e-6)
    if bound:
        paths = [v.path for v in make_model().trainable_variables]
        ours, theirs = (np.concatenate([each[p].ravel() for p in paths]) for each in (one, two))
        assert 0 < np.linalg.norm(ours - theirs) <= bound * np.linalg.norm(ours)
        return updates
    for name in one.keys() - {"meanwhile", "afterwards", "others"}:
        rows = OCCURRING if name == TABLE else ...
        np.testing.assert_array_equal(one[name][rows], two[name][rows], err_msg=name)
    return updates

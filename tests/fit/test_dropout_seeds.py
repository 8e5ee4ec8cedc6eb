import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import BATCH, LINEAR_X, LINEAR_Y, Linear, make_classifier, make_linear

import tfbert
from tfbert.fit import keras_internals
from tfbert.fit.dropout_seeds import stateless_dropout, step_key
from tfbert.hardware.strategies import get_strategy


def masks(model, **place):
    """What each generator of the model gives, by its place in the model."""
    place = {"seed": 1, "update": 2, "micro_batch": 3, "replica": 0, **place}
    generators = keras_internals.seed_generators(model)
    with stateless_dropout(model, step_key(**place)):
        return {name: tuple(generator.next().numpy()) for name, generator in generators}


def test_seeds_are_a_function_of_all_five():
    model = make_classifier(dropout=0.1)
    assert len(masks(model)) == 5  # embeddings, attention, its output, feed-forward, classifier
    places = [{"seed": seed} for seed in (5, 6, 7)]
    places += [{name: n} for name in ("update", "micro_batch") for n in range(10, 20)]
    places += [{"replica": replica} for replica in range(1, 9)]
    seeds = [seed for place in places for seed in masks(model, **place).values()]
    assert len(set(seeds)) == len(seeds)
    assert masks(model) == masks(make_classifier(dropout=0.1))


def test_seeds_are_spread_evenly():
    """Each of the 32 bits is set in half of the seeds, within four standard deviations."""
    words = [
        int(step_key(0, 0, micro_batch, replica)[0])
        for micro_batch, replica in itertools.product(range(40), range(50))
    ]
    bits = np.unpackbits(np.array(words, np.int32).view(np.uint8)).reshape(-1, 32)
    assert len(set(words)) == len(words)
    assert (abs(bits.mean(0) - 0.5) < 4 * 0.5 / np.sqrt(len(words))).all()


def test_a_layer_that_draws_twice_gets_other_numbers_and_is_itself_again():
    model = make_classifier(dropout=0.1)
    (_, generator), *_ = keras_internals.seed_generators(model)
    drawn = []
    for _ in range(2):
        with pytest.raises(KeyError), stateless_dropout(model, step_key(0, 0, 0, 0)):
            drawn.append([tuple(generator.next().numpy()) for _ in range(3)])
            raise KeyError("stop")
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 3
    before = generator.state.numpy()
    generator.next()
    assert (generator.state.numpy() != before).any()


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_repeats_itself_and_no_state_is_kept(jit_compile):
    weights = []
    for seed in (1, 1, 2):
        with get_strategy("cpu").scope():
            model = make_linear(dropout=0.3)
            model.compile(
                tfbert.LAMB(1e-2, jit_compile=False),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                seed=seed,
                jit_compile=jit_compile,
            )
        generators = [generator for _, generator in keras_internals.seed_generators(model)]
        states = [generator.state.numpy() for generator in generators]
        model.fit(LINEAR_X, LINEAR_Y, batch_size=BATCH, shuffle=False, verbose=0)
        np.testing.assert_array_equal(states, [generator.state.numpy() for generator in generators])
        weights.append(model.get_layer("logits").kernel.numpy())
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-6)
    assert not np.allclose(weights[0], weights[2], rtol=1e-3)


def test_micro_batches_and_updates_drop_differently():
    seen = []

    inputs = keras.Input((64,))
    # A weight that is trained, so that updates are counted.
    hidden = keras.layers.Dense(64, use_bias=False, kernel_initializer="ones")(inputs)
    model = Linear(inputs, keras.layers.Dropout(0.5)(hidden))

    def loss(y, y_pred):
        if not isinstance(y_pred, keras.KerasTensor):
            tf.py_function(lambda y: seen.append(y.numpy() != 0), [y_pred], [])
        return keras.ops.mean(y_pred, axis=-1)

    model.compile(loss=loss, accumulate_steps=2)
    model.fit(np.ones((4, 64), np.float32), np.ones(4), 4, epochs=2, verbose=0)
    masks = [mask for mask in seen if mask.shape == (2, 64)]
    assert len(masks) == 4
    rows = np.concatenate(masks)
    for one, other in itertools.combinations(rows, 2):
        assert 15 < (one != other).sum() < 49  # 32 +- 4 standard deviations

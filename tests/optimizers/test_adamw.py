"""AdamW beside Keras'; what it shares with LAMB is tested by the table of optimizers."""

import keras
import pytest
from helpers.optimizer_table import (
    apply,
    random_arrays,
    relative_error,
    values_of,
    variables_of,
    with_xla,
)

import tfbert


@with_xla
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_follows_keras_but_for_the_place_of_epsilon(decay, jit_compile):
    initial = random_arrays(0)
    ours, theirs = variables_of(initial), variables_of(initial)
    options = {"learning_rate": 0.02, "epsilon": 1e-12, "weight_decay": decay}
    mine = tfbert.AdamW(**options, jit_compile=jit_compile)
    stock = keras.optimizers.AdamW(**options)
    stock.exclude_from_weight_decay(var_list=[theirs["dense/bias"], theirs["norm/gamma"]])
    for step in range(20):
        gradients = random_arrays(step + 1)
        apply(mine, gradients, ours)
        apply(stock, gradients, theirs)
    # Keras decays before it steps, which differs by rate^2 decay.
    assert relative_error(values_of(ours), values_of(theirs)) < (1e-6 if decay == 0 else 1e-3)
    moved = relative_error(values_of(ours), initial)
    assert moved > 0.05  # what is compared are not the first weights


def test_its_configuration_has_no_word_of_layer_adaptation():
    optimizer = tfbert.AdamW(0.1, epsilon=1e-3, weight_decay=0.2, exclude_from_weight_decay=None)
    config = optimizer.get_config()
    assert not any("adaptation" in name or "bounds" in name for name in config)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == config
    assert again.exclusions.has_decay("dense/bias")

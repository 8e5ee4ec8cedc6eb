"""The weights of a `BertEncoder` in KerasHub's stock class and back, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import keras_hub

if TYPE_CHECKING:
    from tfbert.models.encoder import BertEncoder

# Constructor arguments that the stock class lacks.
OWN_ARGUMENTS = (
    "rematerialize",
    "activation",
    "layer_norm_epsilon",
    "attention_dropout",
    "fused_attention",
)


def from_stock(backbone: keras_hub.models.BertBackbone, **changes: Any) -> BertEncoder:
    """A `BertEncoder` with the weights of a `keras_hub.models.BertBackbone`, bit for bit.

    `changes` are constructor arguments, such as `rematerialize`, `dropout` or `dtype`.
    """
    from tfbert.models.encoder import BertEncoder  # which imports this module

    encoder = BertEncoder.from_config({**backbone.get_config(), **changes})
    copy_weights(backbone, encoder)
    return encoder


def to_stock(
    encoder: keras_hub.models.BertBackbone, **changes: Any
) -> keras_hub.models.BertBackbone:
    """A `keras_hub.models.BertBackbone` with the weights of any encoder, bit for bit.

    It computes with tanh GELU and an epsilon of 1e-12, whatever the encoder does. `changes` are
    constructor arguments, such as `dtype`.
    """
    config = {**encoder.get_config(), **changes}
    for name in OWN_ARGUMENTS:
        config.pop(name, None)
    stock = keras_hub.models.BertBackbone.from_config(config)
    copy_weights(encoder, stock)
    return stock


def weights_by_path(model: keras.Model) -> dict[str, keras.Variable]:
    """`{path: variable}` of all variables that are weights, not states of random numbers."""
    return {v.path: v for v in model.variables if "seed_generator" not in v.path}


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies all weights from one model to another, matched by their paths.

    Raises:
        ValueError: If one has a weight that the other lacks.
    """
    values, variables = weights_by_path(source), weights_by_path(target)
    if different := sorted(values.keys() ^ variables.keys()):
        raise ValueError(f"only one of the models has the weights {', '.join(different)}")
    for path, variable in variables.items():
        # A copy: on JAX an array that two variables share would end with the training of one.
        variable.assign(keras.ops.copy(values[path]))

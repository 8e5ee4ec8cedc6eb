"""The encoder's weights and files, to and from KerasHub's; freezing."""

import keras
import keras_hub
import numpy as np
import pytest
from helpers.encoder_steps import results
from helpers.small_encoder import CONFIG, INPUTS, assert_same_weights, distance

from tfbert.errors import InputError
from tfbert.hardware.strategies import get_strategy
from tfbert.models.encoder import (
    BertEncoder,
    copy_weights,
    freeze_lower_layers,
    from_stock,
    to_stock,
    weights_by_path,
)
from tfbert.models.layers.attention_choice import choose_attention


def test_paths_shapes_and_attributes_are_the_stock_encoder_s(stock):
    encoder = BertEncoder(**CONFIG)
    ours, theirs = weights_by_path(encoder), weights_by_path(stock)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert len(ours) == 5 + 16 * 2 + 2
    assert isinstance(encoder, keras_hub.models.BertBackbone)
    theirs = {k: v for k, v in stock.get_config().items() if k != "name"}
    assert encoder.get_config().items() >= theirs.items()
    task = keras_hub.models.BertTextClassifier(encoder, num_classes=2, preprocessor=None)
    assert task(INPUTS).shape == (6, 2)


def test_weights_go_to_stock_and_back_bit_for_bit(stock, tmp_path):
    encoder = from_stock(stock, dtype="mixed_bfloat16", rematerialize=True)
    exported = to_stock(encoder, dtype="float32")
    assert type(exported) is keras_hub.models.BertBackbone
    assert (exported.dropout, exported.dtype_policy.name) == (0.1, "float32")
    back = from_stock(exported)
    assert not back.rematerialize
    other = BertEncoder(**CONFIG)
    stock.save_weights(tmp_path / "stock.weights.h5")
    other.load_weights(tmp_path / "stock.weights.h5")
    for model in (encoder, exported, back, other):
        assert_same_weights(model, stock)
    shallow = BertEncoder(**{**CONFIG, "num_layers": 1})
    with pytest.raises(ValueError, match=r"only one of the models has .*transformer_layer_1/"):
        copy_weights(stock, shallow)


def test_attention_dropout_is_a_rate_of_its_own(stock):
    encoder = from_stock(stock, dropout=0.2, attention_dropout=0.0)
    layer = BertEncoder.from_config(encoder.get_config()).transformer_layers[0]
    assert layer._self_attention_layer.draw_seed(training=True) is None
    assert layer._self_attention_layer.dropout == 0.0
    assert layer._feedforward_dropout.rate == layer._self_attention_dropout.rate == 0.2
    as_before = from_stock(stock, dropout=0.2).transformer_layers[0]
    assert as_before._self_attention_layer.dropout == 0.2
    assert to_stock(encoder).dropout == 0.2
    with pytest.raises(ValueError, match="JAX backend alone"):
        from_stock(stock, attention_dropout=0.0, fused_attention=True)
    assert choose_attention("auto", encoder, get_strategy("cpu"), 2, 8) == "plain"
    with pytest.raises(InputError, match="--attention fused: runs on JAX alone"):
        choose_attention("fused", encoder, get_strategy("cpu"), 2, 8)


def test_keras_files_hold_our_class_and_presets_the_stock_one(stock, tmp_path):
    encoder = from_stock(
        stock, rematerialize=True, dtype="mixed_bfloat16", activation="gelu", layer_norm_epsilon=0.1
    )
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    assert type(loaded) is BertEncoder
    assert (loaded.activation, loaded.layer_norm_epsilon) == ("gelu", 0.1)
    assert loaded.rematerialize and loaded.transformer_layers[0].rematerialize
    for name, output in encoder(INPUTS).items():
        np.testing.assert_array_equal(loaded(INPUTS)[name], output)

    preset = str(tmp_path / "preset")
    encoder.save_to_preset(preset)
    plain = keras_hub.models.Backbone.from_preset(preset)
    assert type(plain) is keras_hub.models.BertBackbone
    opened = BertEncoder.from_preset(preset, dtype="float32", rematerialize=True)
    assert type(opened) is BertEncoder and opened.rematerialize
    assert_same_weights(plain, encoder)
    assert_same_weights(opened, encoder)


def test_frozen_layers_get_no_gradient_and_keep_the_others_right(stock, expected):
    encoder = from_stock(stock)
    freeze_lower_layers(encoder, 0)
    assert not encoder.non_trainable_weights
    freeze_lower_layers(encoder, 1)
    _, found = results(encoder)
    assert {path.split("/")[0] for path in found} == {"transformer_layer_1", "pooled_dense"}
    assert distance(found, {k: expected[1][k] for k in found}) < 1e-5
    with pytest.raises(InputError, match="--freeze-layers 3: the model has only 2 layers"):
        freeze_lower_layers(encoder, 3)


def test_a_frozen_part_without_dropout_computes_as_in_an_evaluation(stock):
    encoder = from_stock(stock, dropout=0.5)
    freeze_lower_layers(encoder, 2, dropout=False)
    expected = encoder(INPUTS)["sequence_output"]
    np.testing.assert_array_equal(encoder(INPUTS, training=True)["sequence_output"], expected)
    freeze_lower_layers(encoder, 2)
    assert not np.array_equal(encoder(INPUTS, training=True)["sequence_output"], expected)
    with pytest.raises(InputError, match="dropout cannot be left out of a stock encoder"):
        freeze_lower_layers(to_stock(encoder), 1, dropout=False)

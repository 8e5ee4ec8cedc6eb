"""Options: which variables decay and are adapted, what is refused, what is written down."""

import json
import re

import keras
import keras_hub
import numpy as np
import pytest
from helpers.optimizer_table import (
    apply,
    every_optimizer,
    make,
    random_arrays,
    scaled_or_not,
    values_of,
    variables_of,
)

import tfbert
from tfbert.optimizers.options import NORMS_AND_BIASES, Exclusions


@pytest.mark.parametrize(
    ("decay", "adaptation", "decays", "adapts"),
    [
        (["bias"], None, {"kernel", "gamma"}, {"kernel", "gamma"}),
        (None, ["bias"], {"kernel", "gamma"}, {"kernel", "gamma"}),
        (["bias"], ["gamma"], {"kernel", "gamma"}, {"kernel", "bias"}),
        (["bias"], [], {"kernel", "gamma"}, {"kernel", "bias", "gamma"}),
        ([], ["bias"], {"kernel", "bias", "gamma"}, {"kernel", "gamma"}),
        ([], None, {"kernel", "bias", "gamma"}, {"kernel", "bias", "gamma"}),
        (None, None, {"kernel", "bias", "gamma"}, {"kernel", "bias", "gamma"}),
    ],
)
def test_none_is_as_the_other_and_empty_is_none(decay, adaptation, decays, adapts):
    exclusions, paths = Exclusions(decay, adaptation), ("kernel", "bias", "gamma")
    assert {p for p in paths if exclusions.has_decay(p)} == decays
    assert {p for p in paths if exclusions.is_adapted(p)} == adapts


def test_the_defaults_match_kerashub_s_norms_and_biases_and_nothing_else():
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=50, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    )
    exclusions = Exclusions(NORMS_AND_BIASES, None)
    paths = [v.path for v in backbone.trainable_variables]
    excluded = [p for p in paths if not exclusions.has_decay(p)]
    assert {p.rsplit("/", 1)[1] for p in excluded} == {"gamma", "beta", "bias"}
    kept = {p.rsplit("/", 1)[1] for p in paths if exclusions.has_decay(p)}
    assert kept == {"kernel", "embeddings"}
    # 4 norms of 2 layers, one of the embeddings; 6 biases a layer and the pooler's.
    assert len(excluded) == 2 * (2 * 2 + 1) + 2 * 6 + 1
    for path in ("gamma_projection/kernel", "bias_table", "beta/kernel", "unbiased"):
        assert exclusions.has_decay(path)
    assert not exclusions.has_decay("bias")


@every_optimizer
def test_keras_method_replaces_the_list_and_is_serialized(name):
    initial = random_arrays(0)
    variables, optimizer = variables_of(initial), make(name, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([variables["dense/kernel"]], ["^embed"])
    again = type(optimizer).from_config(optimizer.get_config())
    expected = [k for k in variables if k not in ("dense/kernel", "embeddings")]
    for o in (optimizer, again):
        assert [k for k in variables if o.exclusions.has_decay(k)] == expected
        assert o.exclusions.has_decay("dense/kernel_2")  # the path is an exact one
    apply(again, {k: np.zeros_like(v) for k, v in initial.items()}, variables)
    # Without a gradient nothing but decay moves a weight.
    moved = [k for k, v in values_of(variables).items() if (v != initial[k]).any()]
    assert moved == expected
    with pytest.raises(ValueError, match="must come before build"):
        again.exclude_from_weight_decay(var_names=["x"])


@scaled_or_not
def test_keras_method_without_arguments_excludes_nothing(wrap):
    inner = make("lamb")
    wrap(inner).exclude_from_weight_decay()
    assert inner.exclusions.has_decay("dense/bias")
    wrap(inner).exclude_from_weight_decay(var_names=["kernel"])
    assert inner.get_config()["exclude_from_weight_decay"] == ["kernel"]
    with pytest.raises(TypeError, match="var_names must be a list"):
        wrap(inner).exclude_from_weight_decay(var_names="kernel")


@every_optimizer
def test_config_round_trip(name):
    layerwise = {} if name.startswith("adamw") else {"exclude_from_layer_adaptation": []}
    given = make(
        name,
        learning_rate=keras.optimizers.schedules.CosineDecay(0.1, 10),
        exclude_from_weight_decay=["a", "b$"],
        **layerwise,
        record_statistics=True,
        use_ema=True,
        ema_momentum=0.5,
        ema_overwrite_frequency=3,
        gradient_accumulation_steps=2,
        loss_scale_factor=4.0,
        name="own_name",
    )
    config = keras.saving.serialize_keras_object(given)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert type(again) is type(given)
    assert again.get_config() == given.get_config()
    assert vars(again.exclusions) == vars(given.exclusions)


WRONG_IN_ALL = [
    ({"global_clipnorm": 1.0}, "max_grad_norm"),
    ({"max_grad_norm": 1.0, "clipnorm": 1.0}, "one way of clipping"),
    ({"clipvalue": 1.0, "clipnorm": 1.0}, "one way of clipping"),
    ({"max_grad_norm": 0.0}, "max_grad_norm must be positive"),
    ({"clipnorm": -1.0}, "clipnorm must be positive"),
    ({"clipvalue": 0.0}, "clipvalue must be positive"),
    ({"learning_rate": float("nan")}, "learning_rate must be at least 0 and finite"),
    ({"learning_rate": -1e-3}, "learning_rate must be at least 0 and finite"),
    ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
    ({"weight_decay": float("inf")}, "weight_decay must be at least 0 and finite"),
    ({"loss_scale_factor": 0}, "loss_scale_factor must be a positive number"),
    ({"loss_scale_factor": -1}, "loss_scale_factor must be a positive number"),
    ({"weight_norm_bounds": (2.0, 1.0)}, "weight_norm_bounds must be 0 <= low <= high"),
    ({"trust_ratio_bounds": (1.0,)}, "trust_ratio_bounds must be a pair"),
    ({"trust_ratio_bounds": 1.0}, "trust_ratio_bounds must be a pair"),
    ({"ema_momentum": 2.0, "use_ema": True}, "ema_momentum"),
    ({"exclude_from_weight_decay": ["("]}, r"'\(' is not a regular expression"),
    ({"exclude_from_weight_decay": "bias"}, "exclude_from_weight_decay must be a list"),
    ({"exclude_from_layer_adaptation": [1]}, "exclude_from_layer_adaptation must be a list"),
    ({"unknown": 1}, "unknown"),
    ({"decay": 0.1}, "^decay: .* weight_decay; a rate that falls is a schedule"),
    ({"lr": 0.1}, "^lr: .* is learning_rate$"),
    ({"weight_decay_rate": 0.1}, "^weight_decay_rate: .* is weight_decay$"),
    ({"clip_norm": 1.0}, "^clip_norm: .* is max_grad_norm .* or clipnorm"),
    ({"eps": 1e-6}, "^eps: .* is epsilon$"),
]
WRONG_IN_ONE = [
    ("adamw", {"lr": 0.1}, "^lr: .* is learning_rate$"),
    ("lamb", {"beta_1": 1.0}, "beta_1 must be from 0 to below 1"),
    ("lamb", {"beta_2": -0.1}, "beta_2 must be from 0 to below 1"),
    ("lamb", {"epsilon": 0.0}, "epsilon must be positive"),
    ("adamw", {"exclude_from_layer_adaptation": None}, "AdamW .* takes no exclude_from_layer"),
    ("adamw", {"trust_ratio_bounds": None}, "AdamW .* takes no trust_ratio_bounds"),
    ("scaled", {"minimum_scale": 0.0}, "minimum_scale must be positive"),
    ("scaled", {"initial_scale": 1.0, "minimum_scale": 2.0}, "initial_scale is below"),
    ("scaled", {"dynamic_growth_steps": 0}, "dynamic_growth_steps must be at least 1"),
    ("scaled", {"clipnorm": 1.0}, "inner_optimizer"),
    ("scaled", {"unknown": 1.0}, "unknown"),
]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [(name, *row) for name in ("lamb-decay-0", "lars") for row in WRONG_IN_ALL] + WRONG_IN_ONE,
)
def test_wrong_options(name, options, message):
    error = TypeError if re.search("must be a list|takes no", message) else ValueError
    with pytest.raises(error, match=message):
        if name == "scaled":
            tfbert.LossScaleOptimizer(make("lamb"), **options)
        else:
            make(name, **options)


def test_no_weight_decay_is_none_or_0():
    assert make("lamb", weight_decay=None).weight_decay == 0.0

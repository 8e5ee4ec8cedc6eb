"""Which variables decay and are adapted."""

import keras
import keras_hub
import numpy as np
import pytest
from helpers.optimizer_table import TABLE, apply, make, random_arrays, values_of, variables_of

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


def test_wrong_lists():
    with pytest.raises(TypeError, match="exclude_from_weight_decay must be a list"):
        tfbert.LAMB(exclude_from_weight_decay="bias")
    with pytest.raises(TypeError, match="exclude_from_layer_adaptation must be a list"):
        tfbert.LARS(exclude_from_layer_adaptation=[1])
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression"):
        tfbert.LAMB(exclude_from_weight_decay=["("])


@pytest.mark.parametrize("name", TABLE)
def test_keras_method_replaces_the_list_and_is_serialized(name):
    initial = random_arrays(0)
    variables, optimizer = variables_of(initial), make(name, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([variables["dense/kernel"]], ["^embed"])
    again = type(optimizer).from_config(optimizer.get_config())
    expected = [k for k in variables if k not in ("dense/kernel", "embeddings")]
    for o in (optimizer, again):
        assert [k for k in variables if o.exclusions.has_decay(k)] == expected
    apply(again, {k: np.zeros_like(v) for k, v in initial.items()}, variables)
    # Without a gradient nothing but decay moves a weight.
    moved = [k for k, v in values_of(variables).items() if (v != initial[k]).any()]
    assert moved == expected
    with pytest.raises(ValueError, match="must come before build"):
        again.exclude_from_weight_decay(var_names=["x"])


def test_keras_method_without_arguments_excludes_nothing():
    optimizer = make("lamb")
    optimizer.exclude_from_weight_decay()
    assert optimizer.exclusions.has_decay("dense/bias")


def test_a_variable_is_excluded_by_its_exact_path():
    variables = variables_of({"dense/kernel": np.ones(1), "dense/kernel_2": np.ones(1)})
    optimizer = make("lamb")
    optimizer.exclude_from_weight_decay([variables["dense/kernel"]])
    assert not optimizer.exclusions.has_decay("dense/kernel")
    assert optimizer.exclusions.has_decay("dense/kernel_2")
    assert isinstance(variables["dense/kernel"], keras.Variable)

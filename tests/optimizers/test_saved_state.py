"""State that is loaded before its variables are there: nothing is lost, nothing silently wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfbert

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 8)).astype("float32")
Y = RANDOM.normal(size=(32, 1)).astype("float32")
OPTIMIZERS = {
    "lamb": lambda: tfbert.LAMB(1e-2),
    "loss scale": lambda: tfbert.LossScaleOptimizer(tfbert.LAMB(1e-2), dynamic_growth_steps=2),
}


def make_model(optimizer):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(4, name="a"), layers.Dense(1, name="b")]
    )
    model.compile(optimizer=optimizer, loss="mse")
    return model


def fit(model, epochs=1):
    model.fit(X, Y, shuffle=False, verbose=0, epochs=epochs)


def assert_same_after_one_more(ours, theirs):
    fit(ours)
    fit(theirs)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_checkpoint_restored_before_build_goes_on_bit_for_bit(kind, tmp_path):
    model = make_model(OPTIMIZERS[kind]())
    fit(model, epochs=5)
    path = tf.train.Checkpoint(model=model, opt=model.optimizer).save(str(tmp_path / "c"))
    again = make_model(OPTIMIZERS[kind]())
    tf.train.Checkpoint(model=again, opt=again.optimizer).restore(path)
    assert_same_after_one_more(model, again)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weights_loaded_before_build_bring_the_state_along(kind, tmp_path):
    model = make_model(OPTIMIZERS[kind]())
    fit(model, epochs=5)
    model.save_weights(tmp_path / "x.weights.h5")
    again = make_model(OPTIMIZERS[kind]())
    again.load_weights(tmp_path / "x.weights.h5")
    assert_same_after_one_more(model, again)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_model_saved_while_layers_are_frozen_keeps_their_state(kind, tmp_path):
    model = make_model(OPTIMIZERS[kind]())
    fit(model, epochs=3)
    model.layers[0].trainable = False
    model.compile(optimizer=model.optimizer, loss="mse")
    model.optimizer.build(model.trainable_variables)
    fit(model)
    model.save(tmp_path / "x.keras")
    # Saved and loaded once more, still frozen.
    keras.models.load_model(tmp_path / "x.keras").save(tmp_path / "y.keras")
    again = keras.models.load_model(tmp_path / "y.keras")
    for one in (model, again):
        one.layers[0].trainable = True
        one.compile(optimizer=one.optimizer, loss="mse")
        one.optimizer.build(one.trainable_variables)
    assert_same_after_one_more(model, again)


def test_an_unbuilt_scaler_can_be_saved(tmp_path):
    path = tf.train.Checkpoint(opt=OPTIMIZERS["loss scale"]()).save(str(tmp_path / "c"))
    names = [name for name, _ in tf.train.list_variables(path)]
    assert any("inner_optimizer/iteration" in name for name in names)


def test_carry_over_into_an_average_starts_it_from_the_weights():
    model = make_model("sgd")
    variables = model.trainable_variables
    ones = [keras.ops.ones(v.shape) for v in variables]
    plain, averaged = tfbert.LAMB(1e-3), tfbert.LAMB(1e-3, use_ema=True)
    for optimizer in (plain, averaged):
        optimizer.build(variables)
    plain.apply(ones)
    before = [v.numpy() for v in variables]
    assert averaged.carry_over(plain) == []
    averaged.apply(ones)
    averaged.finalize_variable_values(variables)
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_allclose(variable.numpy(), old, atol=5e-3)


def test_carry_over_counts_updates_not_micro_batches():
    weights = [keras.Variable(np.ones(2, "float32"), name="kernel")]
    steps = [tfbert.LAMB(1e-2, gradient_accumulation_steps=n) for n in (4, None, 2)]
    for optimizer in steps:
        optimizer.build(weights)
    for _ in range(8):
        steps[0].apply([keras.ops.ones(2)], weights)
    steps[1].carry_over(steps[0])
    steps[2].carry_over(steps[1])
    assert [int(optimizer.iterations) for optimizer in steps] == [2, 2, 2]


def test_the_scaler_hands_exclusions_on_and_checks_its_source():
    scaled = OPTIMIZERS["loss scale"]()
    scaled.exclude_from_weight_decay(var_names=["kernel"])
    assert scaled.inner_optimizer.get_config()["exclude_from_weight_decay"] == ["kernel"]
    with pytest.raises(TypeError, match="var_names must be a list"):
        tfbert.LAMB().exclude_from_weight_decay(var_names="kernel")
    with pytest.raises(TypeError, match="carry_over from LAMB to LossScaleOptimizer"):
        scaled.carry_over(tfbert.LAMB())
    with pytest.raises(TypeError, match="carry_over from SGD to Adam"):
        adam = tfbert.LossScaleOptimizer(keras.optimizers.Adam())
        adam.carry_over(tfbert.LossScaleOptimizer(keras.optimizers.SGD()))


@pytest.mark.parametrize("make_inner", [lambda: "adam", lambda: None, OPTIMIZERS["loss scale"]])
def test_what_cannot_be_scaled_is_refused(make_inner):
    with pytest.raises(TypeError, match="must be an optimizer without loss scaling"):
        tfbert.LossScaleOptimizer(make_inner())


def test_more_options_of_stock_optimizers_that_fail_under_a_strategy_are_refused():
    with pytest.raises(ValueError, match=r"Adam\(ema_overwrite_frequency=...\) fails under"):
        tfbert.LossScaleOptimizer(keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=3))


@pytest.mark.parametrize(
    "options",
    [{"loss_scale_factor": 0}, {"loss_scale_factor": -1}, {"weight_decay": float("inf")}],
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        tfbert.LAMB(1e-2, **options)


def test_a_variable_without_a_gradient_has_no_trust_ratio():
    variables = [keras.Variable(np.ones(3, "float32"), name=name) for name in "ab"]
    optimizer = tfbert.LAMB(1e-2, record_statistics=True)
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones(3), None], variables)
    assert set(optimizer.trust_ratios()) == {"a"}


@pytest.mark.parametrize("wrap", [lambda inner: inner, tfbert.LossScaleOptimizer])
def test_a_denominator_beside_accumulation_is_refused(wrap):
    variables = [keras.Variable(np.ones(3, "float32"), name="a")]
    optimizer = wrap(tfbert.LAMB(1e-2, gradient_accumulation_steps=2))
    optimizer.build(variables)
    with pytest.raises(ValueError, match="not with gradient_accumulation_steps"):
        optimizer.apply([keras.ops.ones(3)], variables, denominator=3.0)

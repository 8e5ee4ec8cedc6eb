"""State by path: saved and restored before and after it is built, unfrozen, grown."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.optimizer_table import (
    apply,
    make,
    random_arrays,
    scaled_or_not,
    values_of,
    variables_of,
)
from helpers.optimizer_training import check_same_state, fit, model_of, state_of, update_by_hand

import tfbert

ALL_STATE = {"use_ema": True, "record_statistics": True, "gradient_accumulation_steps": 3}
SCALE = {"initial_scale": 8.0, "dynamic_growth_steps": 3}
OPTIMIZERS = {
    "plain": lambda: make("lamb"),
    "all state": lambda: make("lamb", **ALL_STATE),
    "lars with a schedule": lambda: make(
        "lars", learning_rate=tfbert.WarmupPolynomialDecay(0.05, 20, 5)
    ),
    "loss scale": lambda: tfbert.LossScaleOptimizer(make("lamb", **ALL_STATE), **SCALE),
    "loss scale of adam": lambda: tfbert.LossScaleOptimizer(keras.optimizers.Adam(0.01), **SCALE),
}


def set_trainable(model, trainable):
    """Freezes the first layer or unfreezes it; the optimizer does not hear of it."""
    model.get_layer("hidden_0").trainable = trainable
    model.compile(model.optimizer, "mse", jit_compile=False)


def check_kept(before, after):
    np.testing.assert_equal({path: after[path] for path in before}, before)


def saved(model, folder):
    """The path of a checkpoint; model.keras and x.weights.h5 are written as well."""
    model.save(folder / "model.keras")
    model.save_weights(folder / "x.weights.h5")
    return tf.train.Checkpoint(model=model, opt=model.optimizer).save(folder / "checkpoint")


@pytest.mark.parametrize(
    ("kind", "train"),
    [(kind, update_by_hand) for kind in OPTIMIZERS]
    + [("all state", fit)]  # the one through a stock `fit`
    + [
        pytest.param(kind, fit, marks=pytest.mark.slow)
        for kind in OPTIMIZERS
        if kind != "all state"
    ],
)
def test_what_is_restored_goes_on_bit_for_bit(kind, train, tmp_path):
    model = model_of(OPTIMIZERS[kind]())
    train(model, 8)
    path = saved(model, tmp_path)
    train(model, 4)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    again = model_of(OPTIMIZERS[kind]())
    again.optimizer.build(again.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=again, opt=again.optimizer)
    checkpoint.restore(path).assert_existing_objects_matched()
    for restored in (loaded, again):
        train(restored, 4)
        check_same_state(model, restored)


@pytest.mark.parametrize("kind", ["plain", "all state", "loss scale"])
def test_what_is_restored_before_build_goes_on_bit_for_bit(kind, train, tmp_path):
    model = model_of(OPTIMIZERS[kind]())
    train(model, 8)
    path = saved(model, tmp_path)
    train(model, 4)
    late, weights = model_of(OPTIMIZERS[kind]()), model_of(OPTIMIZERS[kind]())
    tf.train.Checkpoint(model=late, opt=late.optimizer).restore(path)
    weights.load_weights(tmp_path / "x.weights.h5")
    for restored in (late, weights):
        train(restored, 4)
        check_same_state(model, restored)


@pytest.mark.parametrize("kind", ["plain", "loss scale"])
def test_a_model_saved_while_layers_are_frozen_keeps_their_state(kind, train, tmp_path):
    model = model_of(OPTIMIZERS[kind]())
    train(model, 6)
    set_trainable(model, False)
    model.optimizer.build(model.trainable_variables)
    train(model, 3)
    model.save(tmp_path / "x.keras")
    # Saved and loaded once more, still frozen.
    keras.models.load_model(tmp_path / "x.keras").save(tmp_path / "y.keras")
    again = keras.models.load_model(tmp_path / "y.keras")
    for one in (model, again):
        set_trainable(one, True)
        one.optimizer.build(one.trainable_variables)
        train(one, 3)
    check_same_state(model, again)


def test_an_unbuilt_scaler_can_be_saved(tmp_path):
    path = tf.train.Checkpoint(opt=OPTIMIZERS["loss scale"]()).save(str(tmp_path / "c"))
    names = [name for name, _ in tf.train.list_variables(path)]
    assert any("inner_optimizer/iteration" in name for name in names)


def test_a_checkpoint_of_replicas_goes_on_on_one(two_replicas, train, tmp_path):
    with two_replicas.scope():
        model = model_of(make("lamb"))
    train(model, 4)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "two")
    again = model_of(make("lamb"))
    again.optimizer.build(again.trainable_variables)
    status = tf.train.Checkpoint(model=again, optimizer=again.optimizer).restore(path)
    status.assert_existing_objects_matched()
    check_same_state(model, again)


@scaled_or_not
def test_a_model_that_was_never_trained_is_read_again(wrap, tmp_path):
    model_of(wrap(make("lamb"))).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    update_by_hand(again, 2)
    fresh = model_of(wrap(make("lamb")))
    update_by_hand(fresh, 2)
    check_same_state(again, fresh)


def test_checkpoints_are_keyed_by_path(tmp_path):
    """The same variables in another order find their own state."""
    initial = random_arrays(0)
    variables, optimizer = variables_of(initial), make("lamb")
    apply(optimizer, random_arrays(1), variables)
    path = tf.train.Checkpoint(optimizer=optimizer).save(tmp_path / "checkpoint")
    turned = dict(reversed(variables_of(initial).items()))
    again = make("lamb")
    again.build(list(turned.values()))
    tf.train.Checkpoint(optimizer=again).restore(path).assert_existing_objects_matched()
    for key, variable in variables.items():
        check_kept(values_of(optimizer.slots_of(variable)), values_of(again.slots_of(turned[key])))


def test_the_state_of_other_variables_is_refused():
    optimizer = make("lamb")
    optimizer.build(list(variables_of(random_arrays(0)).values()))
    store = {}
    optimizer.save_own_variables(store)
    other = make("lamb")
    other.build(list(variables_of({"other": [1.0], "dense/kernel": np.ones((4, 3))}).values()))
    with pytest.raises(ValueError, match=r"3 missing .*momentum\|other.* 12 unknown"):
        other.load_own_variables(store)
    wrong = {**store, "momentum|dense|bias": np.zeros(4)}
    with pytest.raises(ValueError, match=r"momentum\|dense\|bias was saved with the shape \(4,\)"):
        optimizer.load_own_variables(wrong)


@scaled_or_not
@pytest.mark.parametrize("name", ["lamb", "lars"])
def test_unfreezing_and_freezing_keep_the_state_of_the_other_layers(name, wrap, train):
    optimizer = make(name)
    whole = wrap(optimizer)
    model = model_of(whole, frozen=["hidden_0"])
    train(model, 4)
    before = state_of(optimizer)
    assert not any("hidden_0" in p for p in before)
    set_trainable(model, True)
    with pytest.raises(ValueError, match=r"call optimizer.build\(model.trainable_variables\)"):
        train(model, 1)
    count = len(whole.variables)
    whole.build(model.trainable_variables)
    assert len(whole.variables) == count + 2 * (len(optimizer.slot_names) + 1)
    after = state_of(optimizer)
    check_kept(before, after)
    assert len(after) == len(before) + 2
    for slots in (s for p, s in after.items() if "hidden_0" in p):
        assert slots["first_step"] == 4
    frozen = model.get_layer("hidden_0").kernel.numpy()
    train(model, 4)
    assert optimizer.iterations.numpy() == 8
    assert np.abs(model.get_layer("hidden_0").kernel.numpy() - frozen).max() > 1e-4
    # Frozen again: its state waits.
    before = state_of(optimizer, "hidden_0")
    set_trainable(model, False)
    whole.build(model.trainable_variables)
    train(model, 2)
    check_kept(before, state_of(optimizer))


def test_a_late_variable_has_the_bias_correction_of_a_first_step():
    late, early = (keras.Variable(np.ones(3, "float32"), name=n) for n in ("late", "early"))
    optimizer = make("lamb", weight_decay=0.0, exclude_from_layer_adaptation=["."])
    optimizer.build([early])
    for _ in range(5):
        optimizer.apply([tf.ones(3)], [early])
    optimizer.build([early, late])
    optimizer.apply([tf.ones(3), tf.fill(3, 0.5)], [early, late])
    # m^ / sqrt(v^) of a first step is the gradient's sign, so the step is the rate, 0.02.
    np.testing.assert_allclose(late.numpy(), 0.98, rtol=1e-5)


def test_a_grown_model_with_the_same_optimizer(train):
    """The new model's variables are other objects under old paths."""
    small = model_of(make("lamb"))
    train(small, 4)
    optimizer = small.optimizer
    before = state_of(optimizer)
    large = model_of(optimizer, hidden=2)
    with pytest.raises(ValueError, match="has no state"):
        train(large, 1)
    optimizer.build(large.trainable_variables)
    after = state_of(optimizer)
    check_kept(before, after)
    assert after.keys() - before.keys() == {"hidden_1/kernel", "hidden_1/bias"}
    train(large, 4)
    assert optimizer.iterations.numpy() == 8


def test_another_model_is_told_from_the_same_one():
    """`check_model` knows the variables themselves: the folds of a user have the same paths."""
    optimizer = make("lamb")
    one, two = (list(variables_of(random_arrays(0)).values()) for _ in range(2))
    optimizer.check_model(one)  # not built yet
    optimizer.build(one[:3])
    optimizer.check_model(one[:3])
    optimizer.check_model(one)  # others were frozen
    optimizer.check_model(one[3:], one)  # these are frozen now
    optimizer.build(one[3:])
    optimizer.check_model(one[:2], one)  # and once more
    optimizer.apply([keras.ops.ones(v.shape) for v in one[3:]], one[3:])
    for others in (two, two[:3], [*one[:2], two[2]], list(variables_of({"new": [1.0]}).values())):
        with pytest.raises(ValueError, match="has trained another model, for 1 updates: make an"):
            optimizer.check_model(others, others)
    del one
    with pytest.raises(ValueError, match="has trained another model"):
        optimizer.check_model(two)
    optimizer.build(two)  # on purpose
    optimizer.check_model(two)


def test_variables_of_one_path_have_state_of_their_own():
    twins = [keras.Variable(np.ones(n, "float32"), name="kernel") for n in (2, 3)]
    optimizer = make("lamb")
    optimizer.build(twins)
    assert [path for path, _ in optimizer.all_slots()] == ["kernel", "kernel#2"]
    optimizer.apply([tf.ones(2), tf.ones(3)], twins)
    # The second one keeps its path without the first.
    optimizer.build(twins[1:])
    assert optimizer.path_of(twins[1]) == "kernel#2"
    optimizer.apply([tf.ones(3)], twins[1:])


def test_build_refuses_what_it_cannot_keep():
    optimizer = make("lamb")
    optimizer.build(list(variables_of({"kernel": np.ones(2)}).values()))
    with pytest.raises(ValueError, match="kernel: the state of another shape"):
        optimizer.build(list(variables_of({"kernel": np.ones(3)}).values()))
    float8 = keras.Variable(np.ones(2, "float32"), name="scale")
    float8.overwrite_with_gradient = True
    with pytest.raises(ValueError, match="float8"):
        make("lamb").build([float8])


def test_plain_tensorflow_variables():
    variable = tf.Variable([1.0, 2.0], name="kernel")
    optimizer = make("lamb")
    optimizer.apply([tf.ones(2)], [variable])
    assert [path for path, _ in optimizer.all_slots()] == ["kernel"]
    assert variable.numpy()[0] < 1.0


def test_swap_ema_weights_works(two_replicas):
    with two_replicas.scope():
        model = model_of(make("lamb", use_ema=True, ema_momentum=0.5))
    callback = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    update_by_hand(model, 4)
    averages = [s["average"].numpy() for _, s in model.optimizer.all_slots()]
    assert any((w != a).any() for w, a in zip(model.get_weights(), averages, strict=True))
    callback.set_model(model)
    callback.set_params({"epochs": 1})
    callback.on_epoch_end(0)
    for weight, average in zip(model.get_weights(), averages, strict=True):
        np.testing.assert_allclose(weight, average, rtol=1e-6, atol=1e-7)
    fit(model, 4, callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)])
    averages = [s["average"].numpy() for _, s in model.optimizer.all_slots()]
    for weight, average in zip(model.get_weights(), averages, strict=True):
        np.testing.assert_allclose(weight, average, rtol=1e-6)
    assert not hasattr(make("lamb"), "_model_variables_moving_average")


def test_a_model_may_lose_its_name_on_loading():
    """Keras builds a Sequential of a user's name with it in the paths, and loads it without."""
    named, bare = make("lamb"), make("lamb")
    named.build(list(variables_of({"model/kernel": np.ones(2)}).values()))
    bare.build(list(variables_of({"kernel": np.ones(2)}).values()))
    named.apply([tf.ones(2)])
    for source, target in ((named, bare), (bare, named)):
        store = {}
        source.save_own_variables(store)
        target.load_own_variables(store)
    for (_, ours), (_, theirs) in zip(named.all_slots(), bare.all_slots(), strict=True):
        assert ours["momentum"].numpy()[0] == theirs["momentum"].numpy()[0] > 0


def test_layers_without_a_name_may_be_counted_anew():
    """Keras numbers them through the process, and files may be read in another one."""
    saved = ["dense_9/kernel", "dense_10/kernel", "own_2/kernel"]
    loaded = ["dense/kernel", "dense_1/kernel", "own/kernel"]
    source, target, other = make("lamb"), make("lamb"), make("lamb")
    source.build(list(variables_of({path: np.ones(2) for path in saved}).values()))
    target.build(list(variables_of({path: np.ones(2) for path in loaded}).values()))
    source.apply([tf.fill(2, value) for value in (1.0, 2.0, 3.0)])
    store = {}
    source.save_own_variables(store)
    target.load_own_variables(store)
    for (_, ours), (_, theirs) in zip(target.all_slots(), source.all_slots(), strict=True):
        np.testing.assert_array_equal(ours["momentum"], theirs["momentum"])
    other.build(list(variables_of({path: np.ones(2) for path in loaded[:2]}).values()))
    with pytest.raises(ValueError, match="of other variables"):
        other.load_own_variables(store)


@keras.saving.register_keras_serializable("tests")
class TwoLayers(keras.layers.Layer):
    """A layer of a user's own, as most are written: its parts have no names."""

    def __init__(self, **options):
        super().__init__(**options)
        self.parts = [keras.layers.Dense(3), keras.layers.Dense(3)]

    def build(self, shape):
        for part in self.parts:
            part.build(shape)

    def call(self, x):
        return self.parts[1](self.parts[0](x))


def test_a_file_with_layers_of_ones_own_goes_on(tmp_path):
    model = keras.Sequential([keras.Input((3,)), TwoLayers()])
    model.compile(make("lamb"), "mse", jit_compile=False)
    model.train_on_batch(np.eye(3), np.ones((3, 3)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    losses = [m.train_on_batch(np.eye(3), np.ones((3, 3))) for m in (model, loaded) for _ in "123"]
    assert losses[:3] == losses[3:]

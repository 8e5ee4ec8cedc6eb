"""State by path: saving in mid-training, growing, unfreezing, carrying over."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.optimizer_table import apply, make, random_arrays, values_of, variables_of

import tfbert


def data():
    random = np.random.RandomState(0)
    x = random.normal(size=(32, 4)).astype("float32")
    return x, x.sum(1, keepdims=True)


def model_of(optimizer, hidden=1, frozen=()):
    keras.utils.set_random_seed(0)
    names = [f"hidden_{k}" for k in range(hidden)]
    layers = [keras.layers.Dense(8, name=name) for name in names]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1, name="head")])
    for name in frozen:
        model.get_layer(name).trainable = False
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def train(model, epochs=2):
    model.fit(*data(), batch_size=8, epochs=epochs, shuffle=False, verbose=0)


def check_same_state(one, two):
    """Bit for bit: weights and every variable of the two optimizers."""
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    ours, theirs = one.optimizer.variables, two.optimizer.variables
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)


ALL_STATE = {"use_ema": True, "record_statistics": True, "gradient_accumulation_steps": 3}
OPTIMIZERS = {
    "plain": lambda: make("lamb"),
    "all state": lambda: make("lamb", **ALL_STATE),
    "lars with a schedule": lambda: make(
        "lars", learning_rate=tfbert.WarmupPolynomialDecay(0.05, 20, 5)
    ),
    "loss scale": lambda: tfbert.LossScaleOptimizer(
        make("lamb", **ALL_STATE), initial_scale=8.0, dynamic_growth_steps=3
    ),
    "loss scale of adam": lambda: tfbert.LossScaleOptimizer(
        keras.optimizers.Adam(0.01), initial_scale=8.0, dynamic_growth_steps=3
    ),
}


@pytest.mark.parametrize("optimizer_of", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_saved_model_goes_on_bit_for_bit(optimizer_of, tmp_path):
    model = model_of(optimizer_of())
    train(model)
    model.save(tmp_path / "model.keras")
    train(model)
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is type(model.optimizer)
    train(again)
    check_same_state(model, again)


@pytest.mark.parametrize("optimizer_of", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_checkpoint_goes_on_bit_for_bit(optimizer_of, tmp_path):
    model = model_of(optimizer_of())
    train(model)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    path = checkpoint.save(tmp_path / "checkpoint")
    train(model)
    again = model_of(optimizer_of())
    again.optimizer.build(again.trainable_variables)
    other = tf.train.Checkpoint(model=again, optimizer=again.optimizer)
    other.restore(path).assert_existing_objects_matched()
    train(again)
    check_same_state(model, again)


def test_a_checkpoint_of_replicas_goes_on_on_one(two_replicas, tmp_path):
    with two_replicas.scope():
        model = model_of(make("lamb"))
    train(model)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "two")
    again = model_of(make("lamb"))
    again.optimizer.build(again.trainable_variables)
    status = tf.train.Checkpoint(model=again, optimizer=again.optimizer).restore(path)
    status.assert_existing_objects_matched()
    check_same_state(model, again)


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
        for slot, value in values_of(optimizer.slots_of(variable)).items():
            np.testing.assert_array_equal(values_of(again.slots_of(turned[key]))[slot], value)


def test_foreign_state_is_refused():
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


@pytest.mark.parametrize(
    "wrap", [lambda o: o, tfbert.LossScaleOptimizer], ids=["plain", "loss scale"]
)
@pytest.mark.parametrize("name", ["lamb", "lars"])
def test_unfreezing_keeps_the_state_of_the_old_layers(name, wrap):
    model = model_of(wrap(make(name)), frozen=["hidden_0"])
    train(model)
    whole, optimizer = model.optimizer, getattr(model.optimizer, "inner_optimizer", model.optimizer)
    before = {p: values_of(s) for p, s in optimizer.all_slots()}
    assert not any("hidden_0" in p for p in before)
    model.get_layer("hidden_0").trainable = True
    model.compile(whole, "mse", jit_compile=False)
    with pytest.raises(ValueError, match=r"call optimizer.build\(model.trainable_variables\)"):
        train(model)
    count = len(whole.variables)
    whole.build(model.trainable_variables)
    assert len(whole.variables) == count + 2 * (len(optimizer.slot_names) + 1)
    after = {p: values_of(s) for p, s in optimizer.all_slots()}
    for path, slots in before.items():
        for slot, value in slots.items():
            np.testing.assert_array_equal(after[path][slot], value)
    assert len(after) == len(before) + 2
    steps = optimizer.iterations.numpy()
    for slots in (s for p, s in after.items() if "hidden_0" in p):
        assert slots["first_step"] == steps
    frozen = model.get_layer("hidden_0").kernel.numpy()
    train(model)
    assert optimizer.iterations.numpy() == 2 * steps
    assert np.abs(model.get_layer("hidden_0").kernel.numpy() - frozen).max() > 1e-4


def test_a_late_variable_has_the_bias_correction_of_a_first_step():
    late, early = (keras.Variable(np.ones(3, "float32"), name=n) for n in ("late", "early"))
    options = {"weight_decay": 0.0, "exclude_from_layer_adaptation": ["."]}
    optimizer = make("lamb", **options)
    optimizer.build([early])
    for _ in range(5):
        optimizer.apply([tf.ones(3)], [early])
    optimizer.build([early, late])
    optimizer.apply([tf.ones(3), tf.fill(3, 0.5)], [early, late])
    # m^ / sqrt(v^) of a first step is the gradient's sign, so the step is the rate, 0.02.
    np.testing.assert_allclose(late.numpy(), 0.98, rtol=1e-5)


def test_freezing_again_keeps_what_is_frozen():
    model = model_of(make("lamb"))
    train(model)
    optimizer = model.optimizer
    before = {p: values_of(s) for p, s in optimizer.all_slots() if "hidden_0" in p}
    model.get_layer("hidden_0").trainable = False
    model.compile(optimizer, "mse", jit_compile=False)
    optimizer.build(model.trainable_variables)
    train(model)
    for path, slots in before.items():
        for slot, value in slots.items():
            np.testing.assert_array_equal(values_of(dict(optimizer.all_slots())[path])[slot], value)


def test_a_grown_model_with_the_same_optimizer():
    """The new model's variables are other objects under old paths."""
    small = model_of(make("lamb"))
    train(small)
    optimizer = small.optimizer
    before = {p: values_of(s) for p, s in optimizer.all_slots()}
    large = model_of(optimizer, hidden=2)
    with pytest.raises(ValueError, match="has no state"):
        train(large)
    optimizer.build(large.trainable_variables)
    for path, slots in optimizer.all_slots():
        for slot, value in before.get(path, {}).items():
            np.testing.assert_array_equal(slots[slot].numpy(), value)
    assert {p for p, _ in optimizer.all_slots()} - set(before) == {
        "hidden_1/kernel",
        "hidden_1/bias",
    }
    train(large)
    assert optimizer.iterations.numpy() == 16


def test_carry_over_by_path_and_by_another_path(two_replicas):
    options = {"use_ema": True}
    small = model_of(make("lamb", **options), hidden=2)
    train(small)
    with two_replicas.scope():
        large = model_of(make("lamb", **options), hidden=4)
    large.optimizer.build(large.trainable_variables)

    def rename(path):
        """Layer 2 was copied from layer 1; layer 3 is new."""
        return path.replace("hidden_2", "hidden_1")

    fresh = large.optimizer.carry_over(small.optimizer, rename)
    assert fresh == ["hidden_3/kernel", "hidden_3/bias"]
    assert large.optimizer.iterations.numpy() == small.optimizer.iterations.numpy() == 8
    theirs = dict(small.optimizer.all_slots())
    for path, slots in large.optimizer.all_slots():
        if path in fresh:
            assert slots["first_step"].numpy() == 8
            assert not slots["momentum"].numpy().any()
        else:
            for slot, value in values_of(slots).items():
                np.testing.assert_array_equal(value, theirs[rename(path)][slot].numpy())
    train(large)
    assert large.optimizer.iterations.numpy() == 16


def test_carry_over_of_a_loss_scale():
    options = {"initial_scale": 8.0, "dynamic_growth_steps": 3}
    small, large = (
        model_of(tfbert.LossScaleOptimizer(make("lamb"), **options), hidden=n) for n in (1, 2)
    )
    train(small)
    large.optimizer.build(large.trainable_variables)
    assert large.optimizer.carry_over(small.optimizer) == ["hidden_1/kernel", "hidden_1/bias"]
    assert large.optimizer.dynamic_scale.numpy() == small.optimizer.dynamic_scale.numpy() > 8.0
    assert large.optimizer.iterations.numpy() == 8


def test_carry_over_checks_its_source():
    built = make("lamb")
    built.build(list(variables_of(random_arrays(0)).values()))
    with pytest.raises(ValueError, match="both optimizers built"):
        built.carry_over(make("lamb"))
    with pytest.raises(TypeError, match="carry_over from LARS to LAMB"):
        built.carry_over(make("lars"))


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
    model.fit(*data(), batch_size=8, epochs=2, verbose=0, callbacks=[callback])
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

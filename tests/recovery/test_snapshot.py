import keras
import numpy as np
import pytest
import tensorflow as tf

import tfbert
from tfbert.errors import InputError
from tfbert.recovery.snapshot import HostCopy, assign, non_finite_name, state_variables


def make_model(units=3):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, name="one"), keras.layers.Dropout(0.5)]
    )
    optimizer = tfbert.LossScaleOptimizer(tfbert.LAMB(0.01))
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def model(two_replicas):
    """A model under two replicas that was trained, with metrics of its last epoch."""
    with two_replicas.scope():
        model = make_model()
    data = tf.data.Dataset.from_tensors((np.eye(4, dtype=np.float32), np.ones((4, 3)))).repeat(5)
    model.fit(data, verbose=0)
    return model


def test_the_whole_state_goes_through(model, two_replicas):
    tensors = {k: v.copy() for k, v in HostCopy().copy(state_variables(model)).items()}
    assert tensors["model/one/kernel"].tobytes() == model.layers[0].kernel.numpy().tobytes()
    assert tensors["optimizer/loss_scale_optimizer/dynamic_scale"] == 2**15
    assert tensors["optimizer/lamb/iteration"] == 5
    assert np.abs(tensors["optimizer/lamb/one_kernel_velocity"]).max() > 0
    with two_replicas.scope():
        other = make_model()
    other.fit(np.zeros((2, 4)), np.zeros((2, 3)), verbose=0)
    assign(state_variables(other), tensors)
    again = HostCopy().copy(state_variables(other))
    assert again.keys() == tensors.keys()
    for name, array in tensors.items():
        assert again[name].tobytes() == array.tobytes(), name


def test_a_metric_is_saved_for_each_replica_and_goes_on_on_one(model):
    tensors = HostCopy().copy(state_variables(model))
    parts = [tensors["metrics/loss/count"], tensors["metrics/loss/count@1"]]
    assert sum(parts) == 20
    assert all(part > 0 for part in parts)
    single = make_model()
    single.fit(np.zeros((2, 4)), np.zeros((2, 3)), verbose=0)
    assign(state_variables(single), tensors)
    expected = model.get_metrics_result()
    for name, value in single.get_metrics_result().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6)


def test_a_copy_is_not_touched_by_training_and_its_arrays_are_made_once():
    variables = {"model/x": keras.Variable(np.ones(3)), "model/y": keras.Variable(1, dtype="int32")}
    copy = HostCopy()
    copy.prepare(variables)
    first = copy.copy(variables)
    variables["model/x"].assign([1, 2, 3])
    np.testing.assert_array_equal(first["model/x"], np.ones(3))
    second = copy.copy(variables)
    assert first["model/x"] is second["model/x"]
    np.testing.assert_array_equal(second["model/x"], [1, 2, 3])
    assert second["model/y"] == 1


def test_a_checkpoint_is_not_touched_by_what_it_was_assigned_to():
    for values in (np.ones(()), np.ones(1 << 20)):
        tensors = {"model/x": values.astype(np.float32)}
        variables = {"model/x": keras.Variable(np.zeros(values.shape, np.float32))}
        assign(variables, tensors)
        variables["model/x"].assign_add(np.ones(values.shape))
        variables["model/x"].assign(np.zeros(values.shape))
        np.testing.assert_array_equal(tensors["model/x"], values)


def test_bfloat16_goes_through():
    variables = {"model/x": keras.Variable(np.array([0.1, 3e38]), dtype="bfloat16")}
    tensors = HostCopy().copy(variables)
    assert tensors["model/x"].dtype.name == "bfloat16"
    variables["model/x"].assign(np.zeros(2))
    assign(variables, tensors)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(variables["model/x"]), tensors["model/x"]
    )


def test_variables_of_one_path_are_told_apart():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="one")(inputs))
    other = keras.layers.Dense(1, name="one")
    other.build((None, 2))
    model._track_variable(other.kernel)
    model.compile("sgd")
    names = state_variables(model)
    kernels = [names["model/one/kernel"], names["model/one/kernel#2"]]
    assert {id(kernel) for kernel in kernels} == {id(model.layers[1].kernel), id(other.kernel)}
    assert len({id(variable) for variable in names.values()}) == len(names)


def test_the_number_of_an_optimizer_in_its_process_does_not_count():
    def names():
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(1, name="one")(inputs))
        model.compile(keras.optimizers.AdamW(0.1))
        model.optimizer.build(model.trainable_variables)
        return list(state_variables(model))

    assert names() == names()


def test_another_model_is_refused(model):
    tensors = dict(HostCopy().copy(state_variables(model)))
    wider = make_model(units=5)
    with pytest.raises(InputError, match=r"model/one/bias is \(3,\), not \(5,\)"):
        assign(state_variables(wider), tensors)
    before = wider.layers[0].kernel.numpy()
    tensors["model/two/kernel"] = tensors.pop("model/one/kernel")
    with pytest.raises(
        InputError, match="lacks model/one/kernel, and has model/two/kernel in addition"
    ):
        assign(state_variables(make_model()), tensors)
    np.testing.assert_array_equal(wider.layers[0].kernel.numpy(), before)


def test_what_is_no_number_is_found():
    sound = {"model/a": np.ones(5, np.float32), "optimizer/b": np.array(1)}
    assert non_finite_name(sound) is None
    late = np.ones((3 << 20) + 1, np.float32)
    late[-1] = np.inf
    assert non_finite_name({**sound, "optimizer/c": late}) == "optimizer/c"
    assert non_finite_name({**sound, "metrics/loss": np.array(np.nan)}) is None

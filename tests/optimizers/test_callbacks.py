"""OptimizerLogger: one point an execution, at the optimizer's own step."""

import keras
import numpy as np
import pytest
from helpers.optimizer_table import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import tfbert


def fit(optimizer, folder, epochs=2, **compile_options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="head")])
    model.compile(optimizer, "mse", jit_compile=False, **compile_options)
    x = np.random.RandomState(0).normal(size=(32, 4)).astype("float32")
    callback = tfbert.OptimizerLogger(folder)
    model.fit(
        x, x.sum(1, keepdims=True), batch_size=8, epochs=epochs, callbacks=[callback], verbose=0
    )
    return model


def curves(folder):
    """`{tag: {step: value}}` of the events in a folder."""
    events = EventAccumulator(str(folder / "optimizer"), size_guidance={"tensors": 0}).Reload()
    return {
        tag: {e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def test_every_curve_of_a_scaled_lamb(tmp_path):
    schedule = tfbert.WarmupPolynomialDecay(0.1, 8, 4)
    inner = make("lamb", learning_rate=schedule, record_statistics=True)
    optimizer = tfbert.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=3)
    fit(optimizer, tmp_path)
    found, names = curves(tmp_path), ("weight_norm", "update_norm", "trust_ratio")
    assert set(found) == {
        "optimizer/learning_rate",
        "optimizer/loss_scale",
        "optimizer/skipped_steps",
        "optimizer/gradient_norm",
        *(f"{n}/head/{w}" for n in names for w in ("kernel", "bias")),
    }
    for values in found.values():
        assert list(values) == list(range(1, 9))
    assert found["optimizer/learning_rate"][4] == pytest.approx(0.1)
    assert list(found["optimizer/loss_scale"].values()) == [8, 8, 16, 16, 16, 32, 32, 32]
    last = inner.trust_ratios()["head/kernel"]
    for name, value in last._asdict().items():
        assert found[f"{name}/head/kernel"][8] == pytest.approx(value)
    assert found["optimizer/gradient_norm"][8] == pytest.approx(inner.gradient_norm())
    assert found["trust_ratio/head/bias"][8] == 1.0


def test_one_point_an_execution(tmp_path):
    fit(make("lars", record_statistics=True), tmp_path, steps_per_execution=2, run_eagerly=False)
    assert list(curves(tmp_path)["optimizer/gradient_norm"]) == [2, 4, 6, 8]


def test_steps_go_on_after_a_resume(tmp_path):
    optimizer = make("lamb", record_statistics=True)
    model = fit(optimizer, tmp_path / "first", epochs=1)
    x = np.ones((32, 4), "float32")
    callback = tfbert.OptimizerLogger(tmp_path / "second")
    model.fit(x, x.sum(1, keepdims=True), batch_size=8, callbacks=[callback], verbose=0)
    assert list(curves(tmp_path / "second")["optimizer/learning_rate"]) == [5, 6, 7, 8]


def test_stock_optimizers_have_a_rate_and_a_scale(tmp_path):
    fit(keras.optimizers.Adam(0.5), tmp_path / "adam")
    assert set(curves(tmp_path / "adam")) == {"optimizer/learning_rate"}
    fit(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.5)), tmp_path / "scaled")
    assert set(curves(tmp_path / "scaled")) == {"optimizer/learning_rate", "optimizer/loss_scale"}


def test_replicas(two_replicas, tmp_path):
    with two_replicas.scope():
        fit(make("lamb", record_statistics=True), tmp_path)
    assert list(curves(tmp_path)["trust_ratio/head/kernel"]) == list(range(1, 9))


@pytest.mark.parametrize("wrap", [lambda o: o, tfbert.LossScaleOptimizer], ids=["plain", "scaled"])
def test_an_optimizer_that_does_not_record_is_refused(wrap, tmp_path):
    with pytest.raises(ValueError, match=r"LAMB\(record_statistics=True\)"):
        fit(wrap(make("lamb")), tmp_path)

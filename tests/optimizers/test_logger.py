"""OptimizerLogger: one point an execution, at the optimizer's own step."""

import keras
import numpy as np
import pytest
from helpers.optimizer_table import make
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import tfbert


def model_of(optimizer, **compile_options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="head")])
    model.compile(optimizer, "mse", jit_compile=False, **compile_options)
    return model


def fit(model, folder, epochs=2):
    """The curves of a run: `{tag: {step: value}}` of the events in a folder."""
    x = np.random.RandomState(0).normal(size=(32, 4)).astype("float32")
    options = {"callbacks": [tfbert.OptimizerLogger(folder)], "verbose": 0}
    model.fit(x, x.sum(1, keepdims=True), batch_size=8, epochs=epochs, **options)
    events = EventAccumulator(str(folder / "optimizer"), size_guidance={"tensors": 0}).Reload()
    return {
        tag: {e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def test_every_curve_of_a_scaled_lamb_which_goes_on_after_a_resume(tmp_path):
    schedule = tfbert.WarmupPolynomialDecay(0.1, 8, 4)
    inner = make("lamb", learning_rate=schedule, record_statistics=True)
    optimizer = tfbert.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=3)
    model = model_of(optimizer)
    found, names = fit(model, tmp_path / "a"), ("weight_norm", "update_norm", "trust_ratio")
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
    assert list(fit(model, tmp_path / "b", 1)["optimizer/learning_rate"]) == [9, 10, 11, 12]


def test_one_point_an_execution(tmp_path):
    model = model_of(make("lars", record_statistics=True), steps_per_execution=2)
    assert list(fit(model, tmp_path)["optimizer/gradient_norm"]) == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("wrap", "more"),
    [(lambda o: o, set()), (keras.optimizers.LossScaleOptimizer, {"optimizer/loss_scale"})],
    ids=["adam", "scaled"],
)
def test_stock_optimizers_have_a_rate_and_a_scale(wrap, more, tmp_path):
    model = model_of(wrap(keras.optimizers.Adam(0.5)))
    assert set(fit(model, tmp_path)) == {"optimizer/learning_rate"} | more


def test_replicas(two_replicas, tmp_path):
    with two_replicas.scope():
        model = model_of(make("lamb", record_statistics=True))
    assert list(fit(model, tmp_path, 1)["trust_ratio/head/kernel"]) == list(range(1, 5))


@pytest.mark.parametrize("wrap", [lambda o: o, tfbert.LossScaleOptimizer], ids=["plain", "scaled"])
def test_an_optimizer_that_does_not_record_is_refused(wrap, tmp_path):
    logger = tfbert.OptimizerLogger(tmp_path)
    logger.set_model(model_of(wrap(make("lamb"))))
    with pytest.raises(ValueError, match=r"LAMB\(record_statistics=True\)"):
        logger.on_train_begin()

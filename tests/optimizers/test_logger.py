"""OptimizerLogger: one point an execution, at the optimizer's own step."""

import keras
import pytest
from helpers.optimizer_table import make, scaled_or_not
from helpers.optimizer_training import fit, model_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import tfbert


def curves(model, folder, epochs=2):
    """The curves of a run of 4 updates an epoch: `{tag: {step: value}}`."""
    fit(model, 4, epochs, callbacks=[tfbert.OptimizerLogger(folder)])
    events = EventAccumulator(str(folder / "optimizer"), size_guidance={"tensors": 0}).Reload()
    return {
        tag: {e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def test_every_curve_of_a_scaled_lamb_which_goes_on_after_a_resume(tmp_path):
    schedule = tfbert.WarmupPolynomialDecay(0.1, 8, 4)
    inner = make("lamb", learning_rate=schedule, record_statistics=True)
    optimizer = tfbert.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=3)
    model = model_of(optimizer, hidden=0)
    found, names = curves(model, tmp_path / "a"), ("weight_norm", "update_norm", "trust_ratio")
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
    for name, value in inner.trust_ratios()["head/kernel"]._asdict().items():
        assert found[f"{name}/head/kernel"][8] == pytest.approx(value)
    assert found["optimizer/gradient_norm"][8] == pytest.approx(inner.gradient_norm())
    assert found["trust_ratio/head/bias"][8] == 1.0
    again = curves(model, tmp_path / "b", epochs=1)
    assert list(again["optimizer/learning_rate"]) == [9, 10, 11, 12]


def test_one_point_an_execution(tmp_path):
    optimizer = make("lars", record_statistics=True)
    found = curves(model_of(optimizer, hidden=0, steps_per_execution=2), tmp_path)
    assert list(found["optimizer/gradient_norm"]) == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("wrap", "more"),
    [(lambda o: o, set()), (keras.optimizers.LossScaleOptimizer, {"optimizer/loss_scale"})],
    ids=["adam", "scaled"],
)
def test_stock_optimizers_have_a_rate_and_a_scale(wrap, more, tmp_path):
    found = curves(model_of(wrap(keras.optimizers.Adam(0.5)), hidden=0), tmp_path)
    assert set(found) == {"optimizer/learning_rate"} | more


def test_replicas(two_replicas, tmp_path):
    with two_replicas.scope():
        model = model_of(make("lamb", record_statistics=True), hidden=0)
    assert list(curves(model, tmp_path)["trust_ratio/head/kernel"]) == list(range(1, 9))


@scaled_or_not
def test_an_optimizer_that_does_not_record_is_refused(wrap, tmp_path):
    with pytest.raises(ValueError, match=r"LAMB\(record_statistics=True\)"):
        curves(model_of(wrap(make("lamb")), hidden=0), tmp_path)

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfbert.training import callbacks as callbacks_module
from tfbert.training.callbacks import TensorBoardCurves
from tfbert.training.curves import epoch_speeds, read_curves

EPOCHS, STEPS = 3, 50


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Curves of three epochs of 50 updates: the first update takes 9 s longer, each other 0.1 s."""
    clock = {"now": 0.0}
    fake = SimpleNamespace(perf_counter=lambda: clock["now"])
    monkeypatch.setattr(callbacks_module, "time", fake)
    writer = TensorBoardCurves(tmp_path / "logs", batch_size=8)
    writer.set_params({"steps": STEPS})
    writer.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(0.5)))
    for epoch in range(EPOCHS):
        writer.on_epoch_begin(epoch)
        for step in range(STEPS):
            clock["now"] += 9.1 if epoch == step == 0 else 0.1
            writer.on_train_batch_end(step, {"loss": float(epoch)})
        clock["now"] += 30  # the evaluation
        writer.on_epoch_end(epoch, {"val_loss": 1.0 - epoch})
    writer.on_train_end()
    return tmp_path


def test_speeds_leave_evaluations_out(run):
    np.testing.assert_allclose(epoch_speeds(run, EPOCHS), [50 * 8 / 14, 80, 80], rtol=1e-5)


def test_points_of_a_curve(run):
    points = read_curves(run)["loss"]
    assert [point.update for point in points] == [20, 40, 50, 70, 90, 100, 120, 140, 150]
    assert [point.value for point in points[::3]] == [0, 1, 2]
    seconds = [point.seconds for point in points]
    assert seconds[0] >= 0
    assert seconds == sorted(seconds)
    evaluation = read_curves(run, "evaluation")["loss"]
    assert [(point.update, point.value) for point in evaluation] == [(50, 1), (100, 0), (150, -1)]

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfbert.recovery.progress import Progress
from tfbert.runs.outputs import callbacks as callbacks_module
from tfbert.runs.outputs.callbacks import TensorBoardCurves
from tfbert.runs.outputs.curves import epoch_speeds, read_curves

EPOCHS, STEPS = 3, 50


def curves_of(path, batches, steps):
    writer = TensorBoardCurves(path / "logs", batches)
    writer.set_params({"steps": steps})
    writer.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(0.5)))
    return writer


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Curves of three epochs of 50 updates: the first update takes 9 s longer, each other 0.1 s."""
    clock = {"now": 0.0}
    fake = SimpleNamespace(perf_counter=lambda: clock["now"])
    monkeypatch.setattr(callbacks_module, "time", fake)
    batches = SimpleNamespace(examples_in=lambda epoch, first, last: 8 * (last + 1 - first))
    writer = curves_of(tmp_path, batches, STEPS)
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


def test_points_where_batches_differ_in_size(tmp_path):
    """20 batches of 32 at loss 0.7, then 20 of 512 at 0.3: so much stand in the curve."""
    sizes = np.array([32] * 20 + [512] * 20)
    losses = np.array([0.7] * 20 + [0.3] * 20)
    means = np.cumsum(sizes * losses) / np.cumsum(sizes)  # over examples, as the logs have it
    batches = SimpleNamespace(examples_in=lambda _, first, last: int(sizes[first : last + 1].sum()))
    writer = curves_of(tmp_path, batches, 40)
    writer.on_epoch_begin(0)
    for step, mean in enumerate(means):
        writer.on_train_batch_end(step, {"loss": mean})
    writer.on_train_end()
    values = [point.value for point in read_curves(tmp_path)["loss"]]
    np.testing.assert_allclose(values, [0.7, 0.3], rtol=1e-6)


def test_the_loss_of_an_update_where_batches_differ_in_size():
    progress = Progress()
    assert progress.advance(0, 0, {"loss": 0.7}, examples=16) is None
    mean = (16 * 0.7 + 1024 * 0.3 + 16 * 0.5) / (16 + 1024 + 16)
    progress.advance(1, 1, {"loss": (16 * 0.7 + 1024 * 0.3) / 1040}, examples=1024)
    before = progress.watch.recent
    progress.advance(2, 2, {"loss": mean}, examples=16)
    assert progress.watch.recent == pytest.approx(0.95 * before + 0.05 * 0.5)

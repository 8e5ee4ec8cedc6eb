import keras

import tfbert
from tfbert.recipes.phases import Phase
from tfbert.runs.outputs import pretrain_callbacks
from tfbert.runs.outputs.pretrain_callbacks import PretrainingCurves


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


class Status:
    def update(self, **values):
        pass


def test_the_first_updates_tell_the_time_left(tmp_path, monkeypatch, caplog):
    """Updates of a second each, after a first one that compiles for 30: 97 are left, then 87."""
    clock = Clock()
    monkeypatch.setattr(pretrain_callbacks, "time", clock)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(tfbert.AdamW(1e-3), "mse")
    model.optimizer.build(model.trainable_variables)
    phases = [Phase(100, 32, 16, learning_rate=1e-3, layers=2)]
    curves = PretrainingCurves(tmp_path, phases, [5.0], Status())
    curves.set_model(model)
    curves.set_params({"steps": 100})
    with caplog.at_level("INFO", "tfbert"):
        curves.on_train_begin()
        curves.on_epoch_begin(0)
        for batch in range(20):
            clock.now += 1 if batch else 30
            model.optimizer.iterations.assign(batch + 1)
            curves.on_train_batch_end(batch, {"loss": 1.0})
    lines = [record.message for record in caplog.records]
    assert [line.split()[1] for line in lines] == ["3", "13"]  # two seconds, then ten
    assert lines[0].endswith("2 min left") and lines[1].endswith("1 min left")

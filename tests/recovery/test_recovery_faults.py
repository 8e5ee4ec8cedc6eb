"""What a stranger broke in runs that are resumed or rolled back."""

import keras
import numpy as np
import pytest
from recovery_model import Batches, X, Y, fresh_model

import tfbert
from tfbert.errors import InputError
from tfbert.recovery.divergence import Diverged


def train(directory, data=None, recovery=None, **options):
    recovery = recovery or tfbert.Recovery(str(directory), every_steps=2)
    validation = X[:9], Y[:9]
    fresh_model().fit(
        data or Batches(), verbose=0, validation_data=validation, recovery=recovery, **options
    )


def test_a_rollback_keeps_the_log_of_epochs(tmp_path):
    log, directory = tmp_path / "log.csv", str(tmp_path / "checkpoints")
    train(
        directory,
        data=Batches(bad=[(1, 2), (2, 3)]),
        epochs=4,
        callbacks=[keras.callbacks.CSVLogger(log)],
        recovery=tfbert.Recovery(directory, on_nan="rollback"),
    )
    first_column = [line.split(",")[0] for line in log.read_text().splitlines()]
    assert first_column == ["epoch", "0", "1", "2", "3"]


class StopsAtTheSecondVisit(keras.callbacks.Callback):
    """Stops after step 1 of the second epoch, when it comes there once more."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def on_train_batch_end(self, batch, logs=None):
        self.heard.append(batch)
        self.model.stop_training = self.heard.count(1) == 3


def test_training_stops_at_once_after_a_rollback_as_well(tmp_path):
    callback, recovery = StopsAtTheSecondVisit(), tfbert.Recovery(str(tmp_path), on_nan="rollback")
    train(tmp_path, Batches(bad=[(1, 2)]), recovery, callbacks=[callback], epochs=3)
    assert callback.heard == [0, 1, 2, 3, 4, 0, 1, 0, 1]


class Spoils(keras.callbacks.Callback):
    """Makes a weight NaN after the last update."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            variable = self.model.trainable_variables[0]
            variable.assign(variable * np.nan)


def test_weights_that_are_no_numbers_are_no_success(tmp_path):
    with pytest.raises(Diverged, match="holds an inf or a NaN"):
        train(tmp_path, callbacks=[Spoils()], epochs=2)


class NumpyState(keras.callbacks.Callback):
    def get_state(self):
        return {"value": np.float32(0.5)}

    def set_state(self, state):
        self.state = state


class NoJson(NumpyState):
    def get_state(self):
        return {"value": object()}


def test_the_state_of_a_callback_may_be_of_numpy(tmp_path):
    train(tmp_path, callbacks=[NumpyState()], epochs=1)
    callback = NumpyState()
    train(tmp_path, callbacks=[callback], epochs=2)
    assert callback.state == {"value": 0.5}
    with pytest.raises(InputError, match=r"NoJson.get_state\(\) must return what JSON can hold"):
        train(tmp_path / "other", callbacks=[NoJson()], epochs=1)

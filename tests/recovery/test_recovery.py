import csv
import functools
import json
import math
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from recovery_model import BATCH, ROWS, Batches, X, Y, fresh_model, make_model

import tfbert
from tfbert.errors import InputError
from tfbert.io.locks import RunLock
from tfbert.recovery.checkpoints import Checkpoints
from tfbert.recovery.divergence import Diverged
from tfbert.recovery.preemption import Preempted
from tfbert.recovery.snapshot import HostCopy, state_variables

EPOCHS = 3
STEPS = ROWS // BATCH


class Crash(Exception):
    """Stands for the end of the process; what was going on is left as it is."""


class CrashAt(keras.callbacks.Callback):
    """Crashes after some updates, or in an evaluation."""

    def __init__(self, updates=None, evaluation=None):
        super().__init__()
        self.updates = updates
        self.evaluation = evaluation
        self.seen = self.evaluations = 0

    def get_state(self):
        return {"seen": self.seen, "evaluations": self.evaluations}

    def set_state(self, state):
        vars(self).update(state)

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.updates:
            raise Crash

    def on_test_batch_end(self, batch, logs=None):
        if self.evaluations == self.evaluation:
            raise Crash

    def on_test_end(self, logs=None):
        self.evaluations += 1


class Recorder(keras.callbacks.Callback):
    """A user's own callback: what it heard, as numbers."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def get_state(self):
        return {"heard": self.heard}

    def set_state(self, state):
        self.heard = state["heard"]

    def on_train_batch_end(self, batch, logs=None):
        self.heard.append([batch, logs["loss"], logs["accuracy"]])

    def on_epoch_end(self, epoch, logs=None):
        self.heard.append([epoch, *sorted(logs.values())])


def weights_of(model):
    variables = state_variables(model)
    names = [name for name in variables if name.startswith(("model/", "optimizer/"))]
    copies = HostCopy().copy({name: variables[name] for name in names})
    return {name: array.tobytes() for name, array in copies.items()}


def train(directory=None, strategy=None, crash=None, model=None, data=None, **options):
    """Trains a new model; returns its final state, what a recorder heard, and the history."""
    recorder = Recorder()
    callbacks = [recorder, *options.pop("callbacks", []), *([crash] if crash else [])]
    model = model or fresh_model(strategy)
    settings = {"epochs": EPOCHS, "verbose": 0, "validation_data": (X[:9], Y[:9]), **options}
    if directory is not None and "recovery" not in settings:
        settings["recovery"] = tfbert.Recovery(str(directory), every_steps=2)
    data = Batches() if data is None else data
    history = model.fit(data, callbacks=callbacks, **settings)
    return weights_of(model), recorder.heard, history.history


def crashed(directory, crash, again=None, **options):
    """What `train` returns of a run that crashed at update `crash` and was started again.

    Args:
        directory: Of its checkpoints.
        crash: The update, or the arguments of `CrashAt`.
        again: Options of the second start that differ from those of the first.
        **options: Of `train`; a function is called for each start.
    """

    def start(crash, options):
        made = {name: value() if callable(value) else value for name, value in options.items()}
        return train(directory, crash=crash, **made)

    with pytest.raises(Crash):
        start(CrashAt(**crash) if isinstance(crash, dict) else CrashAt(crash), options)
    return start(CrashAt(), {**options, **(again or {})})


@pytest.fixture(scope="module")
def uninterrupted():
    return train()


@pytest.mark.parametrize(
    "crash",
    [{"updates": 1}, {"updates": 4}, {"updates": 5}, {"updates": 8}, {"evaluation": 1}],
    ids=str,
)
def test_a_crashed_run_ends_as_if_it_had_not(tmp_path, uninterrupted, crash):
    assert crashed(tmp_path, crash) == uninterrupted


def test_so_does_one_on_two_replicas(tmp_path, two_replicas):
    assert crashed(tmp_path, 8, strategy=two_replicas) == train(strategy=two_replicas)


def test_a_finished_run_is_brought_back_and_not_trained(tmp_path, uninterrupted):
    assert train(tmp_path) == uninterrupted  # recovery changes nothing where nothing happens
    assert train(tmp_path, data=Batches(bad=[(3, 0)])) == uninterrupted


def test_more_epochs_go_on_from_the_end(tmp_path, uninterrupted):
    train(tmp_path, epochs=1)
    assert train(tmp_path)[:2] == uninterrupted[:2]


def test_several_updates_an_execution(tmp_path):
    """A crash between two executions of 2, 2 and 1 updates."""

    def model():
        return fresh_model(steps_per_execution=2)

    expected = train(model=model())
    assert crashed(tmp_path, 5, model=model)[:2] == expected[:2]


def test_two_replicas_go_on_as_one_and_the_reverse(tmp_path, two_replicas):
    """Without dropout, whose masks depend on the replicas."""
    one, two = (
        functools.partial(fresh_model, strategy, dropout=0.0)
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    expected, _, history = train(model=one())
    for first, second in ((two, one), (one, two)):
        folder = tmp_path / ("two" if first is two else "one")
        weights, _, again = crashed(folder, 8, model=first, again={"model": second})
        for name, values in history.items():
            np.testing.assert_allclose(again[name], values, rtol=1e-5)
        for name in (name for name in expected if name.startswith("model/")):
            a, b = (np.frombuffer(each[name], np.float32) for each in (expected, weights))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_loss_scale_goes_on(tmp_path):
    models = []

    def scaled():
        optimizer = tfbert.LossScaleOptimizer(tfbert.LAMB(0.02, jit_compile=False), 8.0, 4)
        models.append(make_model(optimizer=optimizer))
        return models[-1]

    expected, _, _ = train(model=scaled())
    weights, _, _ = crashed(tmp_path, 7, model=scaled)
    assert float(models[-1].optimizer.dynamic_scale) == 8.0 * 2**3  # 15 updates, doubled each 4
    assert weights == expected


def test_kerass_callbacks_go_on(tmp_path):
    """Their decisions in the third and fourth epoch depend on what they saw in the first two."""

    def callbacks(folder):
        kinds, weights = keras.callbacks, str(folder / "{epoch}.weights.h5")
        return [
            kinds.ReduceLROnPlateau("loss", 0.1, patience=2, min_delta=10.0, cooldown=1),
            kinds.EarlyStopping("loss", min_delta=10.0, patience=4, mode="min"),
            kinds.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            kinds.CSVLogger(str(folder / "log.csv")),
            kinds.ModelCheckpoint(weights, save_weights_only=True, save_freq=7),
            kinds.TensorBoard(str(folder / "logs"), update_freq=2),
        ]

    def run(folder, crash=None, recovery=None):
        folder.mkdir(exist_ok=True)
        model = make_model(optimizer=keras.optimizers.AdamW(0.01))
        options = {"callbacks": callbacks(folder), "epochs": 9}
        weights, _, history = train(recovery, None, crash, model, **options)
        with open(folder / "log.csv") as file:
            rows = list(csv.DictReader(file))
        files = sorted(path.name for path in folder.glob("*.h5"))
        return weights, history, rows, files, float(model.optimizer.learning_rate)

    expected = run(tmp_path / "one")
    assert len(expected[1]["loss"]) == 5  # it was stopped early
    folder = tmp_path / "two"
    for updates in (8, 13, 19):
        with pytest.raises(Crash):
            run(folder, CrashAt(updates), tmp_path / "checkpoints")
    again = run(folder, CrashAt(), tmp_path / "checkpoints")
    assert again == expected


def test_the_best_weights_of_early_stopping_go_on(tmp_path):
    def stopping():
        # Nothing after the first epoch is 10 better than it.
        options = {"min_delta": 10.0, "patience": 3, "mode": "min"}
        return [keras.callbacks.EarlyStopping("loss", restore_best_weights=True, **options)]

    expected, _, _ = train(epochs=9, callbacks=stopping())
    one_epoch, _, _ = train(epochs=1)
    weights, _, _ = crashed(tmp_path, 13, epochs=9, callbacks=stopping)
    assert weights == expected
    for name in (name for name in weights if name.startswith("model/")):
        assert weights[name] == one_epoch[name]


def test_a_callback_without_state_is_named(tmp_path, caplog):
    class Mine(keras.callbacks.Callback):
        pass

    train(tmp_path, callbacks=[Mine(), keras.callbacks.LambdaCallback()], epochs=1)
    assert "callback Mine has no get_state and set_state" in caplog.text
    assert "Lambda" not in caplog.text
    with pytest.raises(InputError, match="leave BackupAndRestore out"):
        train(tmp_path, callbacks=[keras.callbacks.BackupAndRestore("x", 1)])


@pytest.mark.parametrize("steps_per_epoch", [None, 4])
def test_a_pipeline_of_ones_own_is_read_up_to_there(tmp_path, caplog, steps_per_epoch):
    def pipeline():
        dataset = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(ROWS, seed=3)
        return (dataset.repeat() if steps_per_epoch else dataset).batch(BATCH)

    options = {"steps_per_epoch": steps_per_epoch}
    expected = train(data=pipeline(), **options)
    assert "is read from its beginning" not in caplog.text
    again = crashed(tmp_path, 9, data=pipeline, **options)
    assert "the data is read from its beginning up to step" in caplog.text
    assert again[:2] == expected[:2]


def test_arrays_are_read_up_to_there(tmp_path):
    options = {"data": X, "y": Y, "batch_size": BATCH}
    assert crashed(tmp_path, 9, **options)[:2] == train(**options)[:2]


@pytest.mark.parametrize(
    ("moment", "saved"), [("on_train_batch_end", 7), ("on_test_batch_end", 10)]
)
def test_sigterm_saves_and_ends(tmp_path, uninterrupted, moment, saved):
    told = []

    def kill(batch, logs=None):
        if model.optimizer.iterations >= 7 and not told:
            told.append(batch)
            os.kill(os.getpid(), signal.SIGTERM)

    model, recovery = fresh_model(), tfbert.Recovery(str(tmp_path))  # saves in mid-epoch if told
    options = {"callbacks": [keras.callbacks.LambdaCallback(**{moment: kill})]}
    options |= {"model": model, "recovery": recovery}
    with pytest.raises(Preempted, match=r"saved at update \d+ in .*start it again") as caught:
        train(**options)
    assert caught.value.exit_status == 75
    assert Checkpoints(tmp_path).newest().step == saved
    assert train(**{**options, "model": fresh_model()}) == uninterrupted


@pytest.fixture
def written_at_once(monkeypatch):
    """Training waits for each checkpoint that is due: it is there, however busy the machine is."""
    save = Checkpoints.save

    def save_and_wait(self, step, variables, state, arrays=None, wait=False):
        return save(self, step, variables, state, arrays, wait=True)

    monkeypatch.setattr(Checkpoints, "save", save_and_wait)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_divergence_ends_the_run_with_what_there_is_to_know(
    tmp_path, two_replicas, written_at_once, replicas
):
    strategy = {1: None, 2: two_replicas}[replicas]  # on two, the learning rate is mirrored
    with pytest.raises(Diverged) as caught:
        train(tmp_path, strategy, data=Batches(bad=[(1, 2)]))
    message = str(caught.value)
    assert message.startswith("training diverged at update 8 (epoch 2, step 2): the loss is nan;")
    assert f"the last good checkpoint is of update 7: {tmp_path}" in message
    assert "likely cause: the learning rate, 0.02 now, is too high, or a batch of bad" in message
    assert "\n" not in message
    newest = Checkpoints(tmp_path).newest()
    assert newest.step == 7
    assert all(np.isfinite(array).all() for array in newest.tensors.values())


def test_roll_back_leaves_out_the_batch(tmp_path, caplog):
    bad = [(1, 2)]
    recovery = tfbert.Recovery(str(tmp_path / "a"), every_steps=2, on_nan="rollback")
    weights, heard, _ = train(data=Batches(bad), recovery=recovery)
    assert "going back to it, without steps 2 to 2" in caplog.text
    assert [batch for batch, *_ in heard[6:12]][:4] == [0, 1, 3, 4]
    assert all(math.isfinite(value) for entry in heard for value in entry)
    updates = np.frombuffer(weights["optimizer/lamb/iteration"], np.int64)
    assert updates == [EPOCHS * STEPS - 1]

    class WithoutIt(Batches):
        """The same batches in one long epoch, without the bad one."""

        steps_per_epoch = EPOCHS * STEPS - 1

        def batch(self, epoch, step):
            return super().batch(*divmod(step + (step >= STEPS + 2), STEPS))

    # Dropout goes by updates, so that nothing tells the two runs apart.
    expected = fresh_model()
    expected.fit(WithoutIt(), epochs=1, verbose=0)
    assert weights == weights_of(expected)


def test_roll_back_has_an_end(tmp_path):
    recovery = tfbert.Recovery(str(tmp_path), every_steps=1, on_nan="rollback", max_rollbacks=2)
    bad = [(0, 0), (0, 3), (1, 1)]
    with pytest.raises(Diverged, match="it went back 2 times before"):
        train(data=Batches(bad), recovery=recovery)
    with pytest.raises(InputError, match="BatchSource"):
        fresh_model().fit(X, Y, verbose=0, recovery=recovery)


def test_other_options_and_other_data_are_refused(tmp_path):
    def recovery(**fingerprint):
        return tfbert.Recovery(str(tmp_path), fingerprint=fingerprint)

    train(epochs=1, recovery=recovery(rate=1, size=3))
    with pytest.raises(InputError, match="with other options: rate was 1, is 2"):
        train(recovery=recovery(rate=2, size=3))
    with pytest.raises(InputError, match="had 5 steps an epoch and now has 20"):
        model = fresh_model()
        model.fit(X, Y, batch_size=2, verbose=0, epochs=2, recovery=recovery(rate=1, size=3))


def test_a_second_process_is_refused(tmp_path):
    with RunLock(tmp_path), pytest.raises(InputError, match="is at work"):
        train(tmp_path)


def test_the_seed_of_dropout_is_the_runs(tmp_path, uninterrupted):
    def with_another_seed():
        return make_model(seed=12)

    assert crashed(tmp_path, 6, again={"model": with_another_seed}) == uninterrupted


def test_the_best_epoch_is_kept(tmp_path):
    recovery = tfbert.Recovery(str(tmp_path), keep=1, monitor="val_loss", mode="max")
    _, _, history = train(recovery=recovery, epochs=4)
    best = int(np.argmax(history["val_loss"]))
    state = Checkpoints(tmp_path).newest().state
    assert state["best"]["epoch"] == best
    assert state["best"]["value"] == history["val_loss"][best]
    kept = Checkpoints(tmp_path).read(state["best"]["step"])
    assert kept.step == STEPS * (best + 1)


def test_what_is_saved_is_json_and_tensors_alone(tmp_path, written_at_once):
    train(tmp_path, epochs=1)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"tensors.safetensors", "state.json", "manifest.json"}
    states = [json.loads(path.read_text()) for path in tmp_path.rglob("state.json")]
    assert sorted(state["updates"] for state in states) == [4, 5]

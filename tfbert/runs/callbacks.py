"""What happens beside training: a progress bar, TensorBoard curves, the run's status."""

import sys
import time

import keras
import tensorflow as tf
from tqdm import tqdm

from tfbert.io.whole import saving


class ProgressBar(keras.callbacks.Callback):
    """A bar on standard error with examples a second, time left and the running metrics.

    Args:
        examples: How many examples the whole of it will see.
        batch_size: Examples a step.
        title: What is going on.
    """

    def __init__(self, examples, batch_size, title):
        super().__init__()
        self.batch_size = batch_size
        self.bar = tqdm(total=examples, desc=title, unit=" examples", file=sys.stderr, smoothing=0)
        self._seen = -1

    def on_epoch_begin(self, epoch, logs=None):
        self._seen = -1

    def on_train_batch_end(self, batch, logs=None):
        self._advance(batch, logs)

    def on_predict_begin(self, logs=None):
        self._seen = -1

    def on_predict_batch_end(self, batch, logs=None):
        self._advance(batch, None)

    def on_epoch_end(self, epoch, logs=None):
        # The last batch of an epoch may have been a small one.
        self.bar.n = round(self.bar.total * (epoch + 1) / self.params["epochs"])
        values = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self.bar.write(f"epoch {epoch + 1}: {values}", file=sys.stderr)

    def on_train_end(self, logs=None):
        self.bar.close()

    def on_predict_end(self, logs=None):
        self.bar.n = self.bar.total
        self.bar.close()

    def get_state(self):
        """The examples so far, for a run that is resumed."""
        return {"examples": self.bar.n, "seen": self._seen}

    def set_state(self, state):
        """Goes on where the bar was."""
        self.bar.n = self.bar.initial = state["examples"]
        self._seen = state["seen"]

    def _advance(self, batch, logs):
        if logs:
            shown = {name: f"{value:.4f}" for name, value in logs.items() if name != "val"}
            self.bar.set_postfix(shown, refresh=False)
        # Callbacks hear of the last of `steps_per_execution` batches.
        examples = (batch - self._seen) * self.batch_size
        self._seen = batch
        self.bar.update(min(examples, self.bar.total - self.bar.n))


class TensorBoardCurves(keras.callbacks.Callback):
    """Writes loss, accuracy, learning rate and examples a second; the step is the update.

    `keras.callbacks.TensorBoard` would write running means over the epoch, and starts to count
    anew in every `fit`.

    Args:
        directory: Where TensorBoard looks: `train/` and `evaluation/` in it.
        batches: What is trained on, a `BatchSource` with `examples_in`.
        every: Updates between two points of the training curves.
    """

    def __init__(self, directory, batches, every=20):
        super().__init__()
        self.directory = directory
        with saving(directory):
            self.train = tf.summary.create_file_writer(str(directory / "train"))
            self.evaluation = tf.summary.create_file_writer(str(directory / "evaluation"))
        self.batches = batches
        self.every = every
        self._sums, self._batches = {}, 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._first_update = epoch, epoch * self.params["steps"]
        self._sums, self._batches, self._time = {}, 0, time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        count, now = batch + 1 - self._batches, time.perf_counter()
        if count < self.every and batch + 1 != self.params["steps"]:
            return
        values = {"learning_rate": float(self.model.optimizer.learning_rate)}
        examples = self.batches.examples_in(self._epoch, self._batches, batch)
        seen = self.batches.examples_in(self._epoch, 0, batch)
        values["examples_per_second"] = examples / (now - self._time)
        for name, mean in (logs or {}).items():
            # Keras hands out the mean since the epoch began: take the last interval out of it.
            total = mean * seen
            values[name] = (total - self._sums.get(name, 0.0)) / examples
            self._sums[name] = total
        self._batches, self._time = batch + 1, now
        self._write(self.train, self._first_update + batch + 1, values)

    def on_epoch_end(self, epoch, logs=None):
        values = {
            name.removeprefix("val_"): value
            for name, value in (logs or {}).items()
            if name.startswith("val_")
        }
        self._write(self.evaluation, self._first_update + self.params["steps"], values)

    def on_train_end(self, logs=None):
        self.train.close()
        self.evaluation.close()

    def get_state(self):
        """What the next points are reckoned from, for a run that is resumed."""
        return {"sums": self._sums, "batches": self._batches}

    def set_state(self, state):
        """Goes on between two points."""
        self._sums, self._batches = state["sums"], state["batches"]

    def _write(self, writer, update, values):
        with saving(self.directory), writer.as_default(step=update):
            for name, value in values.items():
                tf.summary.scalar(name, value)
            writer.flush()


class StatusUpdates(keras.callbacks.Callback):
    """Tells a `RunStatus` where training is.

    Args:
        status: `RunStatus`.
    """

    def __init__(self, status):
        super().__init__()
        self.status = status

    def on_train_begin(self, logs=None):
        self._since = None
        self.status.update(phase="training")

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self.status.update(phase="training", epoch=epoch, epochs=self.params["epochs"])

    def on_train_batch_end(self, batch, logs=None):
        steps, now = self.params["steps"], time.monotonic()
        changes = {"metrics": dict(logs or {})}
        if steps:
            done, total = self._epoch * steps + batch + 1, self.params["epochs"] * steps
            changes |= {"step": done, "steps": total}
            # The first execution traces: what comes after it tells the rate.
            self._since = self._since or (done, now)
            if done > self._since[0]:
                rate = (done - self._since[0]) / (now - self._since[1])
                changes |= {"steps_per_second": rate, "seconds_left": (total - done) / rate}
        self.status.update(**changes)

    def on_test_begin(self, logs=None):
        self.status.update(phase="evaluating")

    def on_epoch_end(self, epoch, logs=None):
        self.status.update(metrics=dict(logs or {}))

    def on_train_end(self, logs=None):
        self.status.update(phase="saving the model", seconds_left=None)

"""What happens beside training: a progress bar, TensorBoard curves, weights on disk."""

import os
import shutil
import sys
import time

import keras
import tensorflow as tf
from tqdm import tqdm

from tfbert.files import replacing
from tfbert.training.run_directory import saving, size_in_bytes


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

    def on_train_batch_end(self, batch, logs=None):
        self._advance(logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._advance(None)

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

    def _advance(self, logs):
        if logs:
            shown = {name: f"{value:.4f}" for name, value in logs.items() if name != "val"}
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(min(self.batch_size, self.bar.total - self.bar.n))


class TensorBoardCurves(keras.callbacks.Callback):
    """Writes loss, accuracy, learning rate and examples a second; the step is the update.

    `keras.callbacks.TensorBoard` would write running means over the epoch, and starts to count
    anew in every `fit`.

    Args:
        directory: Where TensorBoard looks: `train/` and `evaluation/` in it.
        batch_size: Examples an update.
        every: Updates between two points of the training curves.
    """

    def __init__(self, directory, batch_size, every=20):
        super().__init__()
        self.directory = directory
        with saving(directory):
            self.train = tf.summary.create_file_writer(str(directory / "train"))
            self.evaluation = tf.summary.create_file_writer(str(directory / "evaluation"))
        self.batch_size = batch_size
        self.every = every

    def on_epoch_begin(self, epoch, logs=None):
        self._first_update = epoch * self.params["steps"]
        self._sums, self._batches, self._time = {}, 0, time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self.every and batch + 1 != self.params["steps"]:
            return
        count, now = batch + 1 - self._batches, time.perf_counter()
        values = {"learning_rate": float(self.model.optimizer.learning_rate)}
        values["examples_per_second"] = count * self.batch_size / (now - self._time)
        for name, mean in (logs or {}).items():
            # Keras hands out the mean since the epoch began: take the last interval out of it.
            total = mean * (batch + 1)
            values[name] = (total - self._sums.get(name, 0.0)) / count
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

    def _write(self, writer, update, values):
        with saving(self.directory), writer.as_default(step=update):
            for name, value in values.items():
                tf.summary.scalar(name, value)
            writer.flush()


class EpochWeights(keras.callbacks.Callback):
    """Keeps `last.weights.h5` and, by the evaluation loss, `best.weights.h5`.

    Args:
        directory: An existing folder.
    """

    def __init__(self, directory):
        super().__init__()
        self.last = directory / "last.weights.h5"
        self.best = directory / "best.weights.h5"
        self.best_loss = float("inf")

    def on_epoch_end(self, epoch, logs=None):
        saved = self.model.variables + self.model.optimizer.variables
        with saving(self.last, size_in_bytes(saved)), replacing(self.last) as temporary:
            self.model.save_weights(temporary)
        if logs["val_loss"] < self.best_loss:
            self.best_loss = logs["val_loss"]
            with saving(self.best), replacing(self.best) as temporary:
                # One copy on disk serves both names until the next epoch writes a new `last`.
                try:
                    os.link(self.last, temporary)
                except OSError:
                    shutil.copyfile(self.last, temporary)

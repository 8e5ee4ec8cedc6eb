"""`compile`, `fit`, `evaluate` and `predict` that are right under every strategy."""

import contextlib
import inspect
import random
import types

import keras
import tensorflow as tf

from tfbert.fit import keras_internals
from tfbert.fit.compilation import (
    check_accumulation,
    check_compile,
    check_division,
    resolve_jit_compile,
    scaled,
)
from tfbert.fit.epochs import EpochData, run_epoch
from tfbert.fit.inference import make_predict_function, make_test_function
from tfbert.fit.replicas import concatenated
from tfbert.fit.single_batches import SingleBatches
from tfbert.fit.train_function import make_train_function
from tfbert.hardware.strategies import is_chief
from tfbert.optimizers.application import ReducingOptimizer
from tfbert.optimizers.loss_scale import LossScaleOptimizer
from tfbert.recovery.callback_state import writes_files
from tfbert.recovery.session import RollBack, make_session


class DistributedTrainer(SingleBatches):
    """A mixin that replaces what runs underneath `fit`; first in a model's order of bases.

    Create model, optimizer and metrics in `strategy.scope()`, as ever. A batch of the data is a
    global batch: it is divided among the replicas, and a replica's part into `accumulate_steps`
    micro-batches; the gradient is that of the mean over the whole of it, reduced once.

    Example:

    ```python
    class Classifier(tfbert.DistributedTrainer, keras.Model):
        pass

    strategy = tfbert.get_strategy("auto")
    with strategy.scope():
        model = Classifier(inputs, outputs)
        model.compile(tfbert.LAMB(1e-3), "sparse_categorical_crossentropy", accumulate_steps=4)
    model.fit(dataset_of_global_batches, epochs=3)
    ```
    """

    accumulate_steps = 1
    seed = 0

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        auto_scale_loss=True,
        accumulate_steps=1,
        seed=None,
    ):
        """Keras' `compile`, with `accumulate_steps` and `seed`.

        Args:
            optimizer, loss, loss_weights, metrics, weighted_metrics, run_eagerly: As in Keras. A
                loss is averaged over the targets of the global batch whose sample weight is not 0.
            steps_per_execution: Updates that run in one call; callbacks hear of the last.
            jit_compile: Whether XLA compiles a replica's forward and backward pass; `"auto"` does
                so on GPUs. On TPUs the whole step is compiled in any case; on CPUs oneDNN is
                faster for all but the smallest models.
            auto_scale_loss: Whether a model with float16 layers gets a
                `tfbert.LossScaleOptimizer` around its optimizer.
            accumulate_steps: Micro-batches that a replica's part of the batch is divided into.
            seed: Of dropout; by default Keras' global seed.

        Raises:
            ValueError: If `accumulate_steps` or `steps_per_execution` is below 1, or the
                optimizer's own accumulation would fail under the strategy.
        """
        arguments = {name: value for name, value in locals().items() if name in _COMPILE_ARGUMENTS}
        check_compile(self, accumulate_steps, steps_per_execution)
        with self.distribute_strategy.scope():
            optimizer = keras.optimizers.get(optimizer)
            if auto_scale_loss:
                optimizer = scaled(self, optimizer)
            check_accumulation(self, optimizer, accumulate_steps)
            super().compile(
                optimizer=optimizer,
                loss=loss,
                loss_weights=loss_weights,
                metrics=metrics,
                weighted_metrics=weighted_metrics,
                run_eagerly=run_eagerly,
                steps_per_execution=steps_per_execution,
                jit_compile=False,
                auto_scale_loss=False,
            )
        self.jit_compile = resolve_jit_compile(self, jit_compile)
        self.accumulate_steps = accumulate_steps
        # As Keras seeds a layer: `keras.utils.set_random_seed` decides.
        self.seed = random.randrange(2**31) if seed is None else seed
        arguments["optimizer"] = optimizer
        arguments["seed"] = self.seed
        # In a box of a kind that Keras does not look into: it would track the metrics twice.
        self._compile_arguments = types.SimpleNamespace(**arguments)

    def _resolve_auto_jit_compile(self):
        """What Keras asks for a model that is not compiled."""
        return resolve_jit_compile(self, "auto")

    def get_compile_config(self):
        """All arguments of `compile`, so that a `.keras` file brings them back."""
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(vars(self._compile_arguments))

    def compile_from_config(self, config):
        """Compiles as `get_compile_config` says, and makes the optimizer's state to be loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force=False):
        """Makes `train_function`, unless it is there."""
        if self.train_function is None or force:
            self.train_function = make_train_function(self)
        return self.train_function

    def make_test_function(self, force=False):
        """Makes `test_function`, unless it is there."""
        if self.test_function is None or force:
            self.test_function = make_test_function(self)
        return self.test_function

    def make_predict_function(self, force=False):
        """Makes `predict_function`, unless it is there."""
        if self.predict_function is None or force:
            self.predict_function = make_predict_function(self)
        return self.predict_function

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
        initial_step=0,
        recovery=None,
    ):
        """Keras' `fit`, on any strategy.

        Args:
            x: As in Keras, or a `BatchSource`. Batches, and `batch_size`, are global.
            recovery: `tfbert.Recovery`, to save the run and to go on with one that was saved.
            initial_step: Step of the initial epoch to begin with; the metrics then go on from
                where they are. Other data than a `BatchSource` begins at its first batch.
            y, batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle,
                class_weight, sample_weight, initial_epoch, steps_per_epoch, validation_steps,
                validation_batch_size, validation_freq: As in Keras.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: If the data gives no batch, or, on a TPU, batches of changing shape.
            TfbertError: With a `recovery`: `Diverged`, `Preempted`, or an `InputError` where the
                checkpoints are of another run.
        """
        self._assert_compile_called("fit")
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = keras_internals.split_arrays(
                (x, y, sample_weight), validation_split
            )
        data = self._prepare(
            x,
            steps=steps_per_epoch,
            start=(initial_epoch, initial_step),
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            shuffle=shuffle,
            class_weight=class_weight,
        )
        validation = None
        if validation_data is not None:
            held_out, targets, weights = _unpacked(validation_data)
            validation = self._prepare(
                held_out,
                steps=validation_steps,
                y=targets,
                sample_weight=weights,
                batch_size=validation_batch_size or batch_size,
            )
        callbacks = self._callback_list(callbacks, data, verbose, epochs, add_history=True)
        self.stop_training = False
        logs = {}
        with make_session(self, recovery, initial_epoch, initial_step) as session:
            session.begin(callbacks.callbacks, data)
            callbacks.on_train_begin()
            if restored := keras_internals.initial_epoch(self):  # by BackupAndRestore
                session.progress.epoch = restored
                data.start_at(restored)
            session.bring_callbacks_back()
            while session.progress.epoch < epochs and not self.stop_training:
                evaluates = validation is not None and keras_internals.should_evaluate(
                    self, session.progress.epoch, validation_freq
                )
                try:
                    logs = self._fit_epoch(
                        data, validation if evaluates else None, callbacks, session
                    )
                except RollBack:
                    session.roll_back()
            session.finish()
        if isinstance(self.optimizer, keras.optimizers.Optimizer) and epochs > 0:
            self.optimizer.finalize_variable_values(self.trainable_variables)
        callbacks.on_train_end(logs)
        return self.history

    def _fit_epoch(self, data, validation, callbacks, session):
        """One epoch from the session's progress on; returns its logs."""
        progress = session.progress
        epoch, is_begun = progress.epoch, progress.step > 0
        steps = data.steps_in(epoch)
        if data.source is not None:
            callbacks.set_params({**callbacks.params, "steps": steps})
        if not is_begun:
            self.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        if is_begun:
            session.bring_callbacks_back()

        def on_begin(step):
            session.before_execution(step)
            callbacks.on_train_batch_begin(step)

        def on_end(step, logs):
            session.check(step, logs)
            callbacks.on_train_batch_end(step, logs)
            session.after_execution()

        logs = progress.logs
        for first_step, end in list(progress.segments(steps)):
            data.seek(epoch, first_step)
            logs = run_epoch(
                data.executions(self.steps_per_execution, first_step, end),
                data.exhausted,
                self.make_train_function(),
                on_begin,
                on_end,
                lambda: self.stop_training,
                logs or None,
            )
        logs = dict(keras_internals.pythonify_logs(logs))
        if validation is not None:
            session.before_evaluation()
            held_out = self._evaluate(validation, callbacks, session.interrupts_evaluation)
            session.after_evaluation()
            logs |= {f"val_{name}": value for name, value in held_out.items()}
        callbacks.on_epoch_end(epoch, logs)
        session.after_epoch(logs)
        return logs

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
    ):
        """Keras' `evaluate`: the same results on any strategy, also with an uneven last batch."""
        self._assert_compile_called("evaluate")
        data = self._prepare(
            x, steps=steps, y=y, sample_weight=sample_weight, batch_size=batch_size
        )
        callbacks = self._callback_list(callbacks, data, verbose, epochs=1)
        logs = self._evaluate(data, callbacks)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def _evaluate(self, data, callbacks, interrupts=lambda: False):
        test_function = self.make_test_function()
        self.stop_evaluating = False
        callbacks.on_test_begin()
        self.reset_metrics()
        logs = run_epoch(
            data.executions(self.steps_per_execution),
            data.exhausted,
            test_function,
            callbacks.on_test_batch_begin,
            callbacks.on_test_batch_end,
            lambda: self.stop_evaluating or interrupts(),
        )
        logs = dict(keras_internals.pythonify_logs(logs))
        callbacks.on_test_end(logs)
        return logs

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Keras' `predict`: outputs in the order of the data, on every worker all of them."""
        data = EpochData(self.distribute_strategy, x, steps, batch_size=batch_size)
        callbacks = self._callback_list(callbacks, data, verbose, epochs=1)
        predict_function = self.make_predict_function()
        self.stop_predicting = False
        callbacks.on_predict_begin()
        outputs = []

        def predict_steps(iterator, steps, is_sure):
            batches = []
            with contextlib.suppress(StopIteration, tf.errors.OutOfRangeError):
                for _ in range(steps):
                    batches.append(predict_function(iterator))
            outputs.extend(batches)
            return {"outputs": concatenated(batches) if batches else None}, len(batches)

        run_epoch(
            data.executions(self.steps_per_execution),
            data.exhausted,
            predict_steps,
            callbacks.on_predict_batch_begin,
            callbacks.on_predict_batch_end,
            lambda: self.stop_predicting,
        )
        callbacks.on_predict_end()
        return keras.tree.map_structure(keras_internals.as_numpy, concatenated(outputs))

    def _prepare(self, x, steps=None, start=(0, 0), **arguments):
        """The data of an epoch, and all variables that it takes to train or evaluate on it."""
        data = EpochData(self.distribute_strategy, x, steps, start, **arguments)
        spec = data.spec
        if isinstance(self.distribute_strategy, tf.distribute.TPUStrategy):
            for tensor in keras.tree.flatten(spec):
                if None in tensor.shape:
                    raise ValueError(
                        f"a TPU needs batches of one shape, not {tensor.shape}: batch the dataset "
                        "with drop_remainder=True"
                    )
        check_division(self)
        with self.distribute_strategy.scope():
            keras_internals.build_from_spec(self, spec)
            if isinstance(self.optimizer, (ReducingOptimizer, LossScaleOptimizer)):
                # State for layers that were frozen when it was built.
                self.optimizer.build(self.trainable_variables)
        return data

    def _callback_list(self, callbacks, data, verbose, epochs, add_history=False):
        if isinstance(callbacks, keras.callbacks.CallbackList):
            return callbacks
        if not is_chief(self.distribute_strategy):
            # The others see the same numbers, and would write over the chief's files.
            callbacks = [c for c in keras.tree.flatten(callbacks or []) if not writes_files(c)]
            verbose = 0
        return keras.callbacks.CallbackList(
            callbacks,
            add_history=add_history,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=data.steps,
            model=self,
        )


_COMPILE_ARGUMENTS = tuple(inspect.signature(DistributedTrainer.compile).parameters)[1:]


def _unpacked(data):
    if isinstance(data, (tuple, list)):
        return keras.utils.unpack_x_y_sample_weight(tuple(data))
    return data, None, None

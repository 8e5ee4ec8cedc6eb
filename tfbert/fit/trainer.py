"""`compile`, `fit`, `evaluate` and `predict` that are right under every strategy.

The order of events in `fit`:

1. `_prepare` divides the data among the replicas and makes the missing variables.
2. The session (`tfbert.recovery.session`) restores a run that was killed, if there was one.
3. Each epoch (`_fit_epoch`) is a series of executions. An execution is one call of the training
   function (`tfbert.fit.train_function`), which makes `steps_per_execution` updates. The callbacks
   are called around it, and the session looks at the loss and saves a checkpoint when one is due.
4. At the end of the epoch come the evaluation, if there is one, and a checkpoint.
"""

from __future__ import annotations

import random
import types
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfbert.fit import engine, keras_internals
from tfbert.fit.batches.class_weights import checked_class_weights
from tfbert.fit.batches.epoch_data import EpochData, Evaluation, require_some
from tfbert.fit.batches.preprocessing import divided_for_validation, preprocessed
from tfbert.fit.callback_list import make_callback_list
from tfbert.fit.compilation import (
    SavedCompilation,
    build_optimizer,
    check_accumulation,
    check_compile,
    check_division,
    check_order_of_bases,
    resolve_jit_compile,
    scaled,
    with_defaults,
)
from tfbert.fit.inference import make_test_function, several_batches
from tfbert.fit.single_batches import SingleBatches
from tfbert.fit.train_function import make_train_function
from tfbert.keras_settings import keras_defaults
from tfbert.recovery.hooks import FitHooks, RollBack
from tfbert.recovery.recovery_options import Recovery
from tfbert.recovery.session import RecoverySession


class DistributedTrainer(engine.ModelOnDevices, SavedCompilation, SingleBatches):
    """A mixin that replaces what runs underneath `fit`; first in a model's order of bases.

    Create model, optimizer and metrics in `strategy.scope()`, as usual. A batch of the data is a
    global batch: it is divided among the replicas, and a replica's part into `accumulate_steps`
    micro-batches; the gradient is that of the mean over the whole batch, reduced once.

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

    accumulate_steps: int = 1
    seed: int = 0
    train_function: Callable[..., Any] | None
    test_function: Callable[..., Any] | None
    predict_function: Callable[..., Any] | None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_order_of_bases(cls, DistributedTrainer)

    def compile(
        self,
        optimizer: str | dict | keras.optimizers.Optimizer = "auto",
        loss: Any = "auto",
        loss_weights: Any = None,
        metrics: Any = "auto",
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        accumulate_steps: int = 1,
        seed: int | None = None,
    ) -> None:
        """Keras' `compile`, with `accumulate_steps` and `seed`.

        Args:
            optimizer, loss, loss_weights, metrics, weighted_metrics, run_eagerly: As in Keras. A
                loss is averaged over the targets of the global batch whose sample weight is not 0.
                "auto": the default of Keras, or of the KerasHub task that the model is.
            steps_per_execution: Updates that run in one call; callbacks are called for the last.
            jit_compile: Whether XLA compiles a replica's forward and backward pass; `"auto"` does
                so on GPUs. On TPUs and JAX the whole step is compiled in any case; on CPUs oneDNN
                is faster for all but the smallest models.
            auto_scale_loss: Whether the optimizer of a model with float16 layers is put into a
                `tfbert.LossScaleOptimizer`.
            accumulate_steps: Micro-batches that a replica's part of a batch is divided into.
            seed: Of dropout; by default Keras' global seed.

        Raises:
            ValueError: If `accumulate_steps` or `steps_per_execution` is below 1, or the
                optimizer's own accumulation would fail under the strategy.
        """
        optimizer, loss, metrics = with_defaults(super().compile, optimizer, loss, metrics)
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        check_compile(self, accumulate_steps, steps_per_execution)
        with self.distribute_strategy.scope(), keras_defaults():
            if isinstance(optimizer, str) and optimizer == "auto":  # KerasHub's, of a task
                super().compile(optimizer=optimizer, loss=loss, metrics=metrics)
                optimizer = self.optimizer
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
        # Not a dictionary, which Keras would look into and track the metrics a second time.
        self._compile_arguments = types.SimpleNamespace(**arguments)

    def _resolve_auto_jit_compile(self) -> bool:
        """What Keras asks for a model that is not compiled."""
        return resolve_jit_compile(self, "auto")

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        initial_step: int = 0,
        recovery: Recovery | None = None,
    ) -> keras.callbacks.History:
        """Keras' `fit`, on any strategy.

        Args:
            x: As in Keras, or a `BatchSource`. Batches, and `batch_size`, are global.
            recovery: `tfbert.Recovery`, to save the run, and to resume one that was saved.
            initial_step: Step of the initial epoch to begin with; the metrics then continue from
                their values. Data that is not a `BatchSource` begins at its first batch.
            validation_data: As in Keras, or a function that returns a dict of metrics. Its argument
                is a function; where that returns True, the evaluation is to end at once.
            y, batch_size, epochs, verbose, callbacks, validation_split, shuffle, class_weight,
                sample_weight, initial_epoch, steps_per_epoch, validation_steps,
                validation_batch_size, validation_freq: As in Keras.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: If the data has no batch, or, on a TPU, batches of changing shape; for a
                wrong `class_weight`; if the optimizer has trained another model.
            TfbertError: With a `recovery`: `Diverged`, `Preempted`, or an `InputError` where the
                checkpoints are of another run.
        """
        self._assert_compile_called("fit")
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = divided_for_validation(
                self, (x, y, sample_weight), validation_split
            )
        start = (initial_epoch, initial_step)
        data = self._prepare(
            x,
            steps=steps_per_epoch,
            start=start,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            shuffle=shuffle,
            class_weight=class_weight,
        )
        validation = validation_data if callable(validation_data) else None
        if validation_data is not None and validation is None:
            held_out, targets, weights = keras.utils.unpack_x_y_sample_weight(validation_data)
            validation = self._prepare(
                held_out,
                steps=validation_steps,
                y=targets,
                sample_weight=weights,
                batch_size=validation_batch_size or batch_size,
            )
        callbacks = make_callback_list(self, callbacks, data.steps, verbose, epochs, True)
        self.stop_training = False
        logs: dict[str, float] = {}
        hooks = (
            FitHooks(self, *start) if recovery is None else RecoverySession(self, recovery, *start)
        )
        with hooks as session:
            session.begin(callbacks.callbacks, data)
            callbacks.on_train_begin()
            if restored := keras_internals.initial_epoch(self):  # by BackupAndRestore
                session.progress.epoch = restored
                data.start_at(restored)
            session.restore_callbacks()
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

    def _fit_epoch(
        self,
        data: EpochData,
        validation: EpochData | Evaluation | None,
        callbacks: keras.callbacks.CallbackList,
        session: FitHooks,
    ) -> dict[str, float]:
        """One epoch, or the rest of it after the session's progress; returns its logs."""
        progress = session.progress
        epoch, is_resumed = progress.epoch, progress.step > 0
        steps = data.steps_in(epoch)
        if data.source is not None:
            callbacks.set_params({**callbacks.params, "steps": steps})
        if not is_resumed:
            self.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        if is_resumed:
            session.restore_callbacks()
        logs = progress.logs
        # One segment, unless a rollback left out steps in the middle of the epoch.
        for first_step, end in list(progress.segments(steps)):
            data.seek(epoch, first_step)
            train_function = self.make_train_function()
            for execution in data.executions(self.steps_per_execution, first_step, end):
                session.before_execution(execution.begin)
                callbacks.on_train_batch_begin(execution.begin)
                new_logs = execution.run(train_function)
                if execution.is_empty:
                    continue  # the data has ended, and so does this loop
                logs = new_logs
                session.check(execution.end, logs)
                callbacks.on_train_batch_end(execution.end, logs)
                session.after_execution()
                if self.stop_training:
                    break
            require_some(logs)
            if self.stop_training:
                break
        logs = dict(keras_internals.pythonify_logs(logs))
        if validation is not None:
            session.before_evaluation()
            if isinstance(validation, EpochData):
                held_out = self._evaluate(validation, callbacks, session.interrupts_evaluation)
            else:
                held_out = validation(session.interrupts_evaluation)
            session.after_evaluation()
            logs |= {f"val_{name}": value for name, value in held_out.items()}
        callbacks.on_epoch_end(epoch, logs)
        session.after_epoch(logs)
        return logs

    def make_train_function(self, force: bool = False) -> Any:
        """Makes `train_function`, of `engine.run_steps`, unless it is there."""
        if self.train_function is None or force:
            self.train_function = make_train_function(self)
        return self.train_function

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Keras' `evaluate`: the same results on any strategy, also with an uneven last batch."""
        self._assert_compile_called("evaluate")
        data = self._prepare(
            x, steps=steps, y=y, sample_weight=sample_weight, batch_size=batch_size
        )
        callbacks = make_callback_list(self, callbacks, data.steps, verbose)
        logs = self._evaluate(data, callbacks)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def _evaluate(
        self,
        data: EpochData,
        callbacks: keras.callbacks.CallbackList,
        interrupts: Callable[[], bool] = lambda: False,
    ) -> dict[str, float]:
        """One pass over the data, until `interrupts` returns True; returns the logs."""
        test_function = self.make_test_function()
        self.stop_evaluating = False
        callbacks.on_test_begin()
        self.reset_metrics()
        logs = None
        for execution in data.executions(self.steps_per_execution):
            callbacks.on_test_batch_begin(execution.begin)
            new_logs = execution.run(test_function)
            if execution.is_empty:
                continue
            logs = new_logs
            callbacks.on_test_batch_end(execution.end, logs)
            if self.stop_evaluating or interrupts():
                break
        require_some(logs)
        logs = dict(keras_internals.pythonify_logs(logs))
        callbacks.on_test_end(logs)
        return logs

    def make_test_function(self, force: bool = False) -> Callable[..., Any]:
        """Makes `test_function`, unless it is there."""
        if self.test_function is None or force:
            self.test_function = make_test_function(self)
        return self.test_function

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Keras' `predict`: outputs in the order of the data, on every worker all of them."""
        x, arguments = preprocessed(self, x, batch_size=batch_size)
        data = EpochData(self.distribute_strategy, x, steps, **arguments)
        callbacks = make_callback_list(self, callbacks, data.steps, verbose)
        predict_function = several_batches(self.make_predict_function())
        self.stop_predicting = False
        callbacks.on_predict_begin()
        outputs: list[Any] = []
        for execution in data.executions(self.steps_per_execution):
            callbacks.on_predict_batch_begin(execution.begin)
            batches = execution.run(predict_function)
            if execution.is_empty:
                continue
            outputs.extend(batches)
            shown = engine.concatenated(batches) if batches else None
            callbacks.on_predict_batch_end(execution.end, {"outputs": shown})
            if self.stop_predicting:
                break
        require_some(outputs)
        callbacks.on_predict_end()
        return keras.tree.map_structure(keras_internals.as_numpy, engine.concatenated(outputs))

    def make_predict_function(self, force: bool = False) -> Callable[..., Any]:
        """Makes `predict_function`, unless it is there."""
        if self.predict_function is None or force:
            self.predict_function = engine.make_predict_function(self)
        return self.predict_function

    def _prepare(self, x: Any, class_weight: Any = None, **arguments: Any) -> EpochData:
        """The data of an epoch; makes all variables needed to train or evaluate on it."""
        weights = checked_class_weights(class_weight, self)
        x, arguments = preprocessed(self, x, **arguments)
        data = EpochData(self.distribute_strategy, x, class_weight=weights, **arguments)
        data.check_shapes()
        check_division(self)
        with self.distribute_strategy.scope(), keras_defaults():
            keras_internals.build_from_spec(self, data.spec)
            build_optimizer(self)
        return data

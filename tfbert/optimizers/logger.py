"""What an optimizer does, in TensorBoard."""

import os
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops
from tensorboard.summary import Writer

from tfbert.optimizers.loss_scale import innermost


class OptimizerLogger(keras.callbacks.Callback):
    """Writes learning rate, loss scale, gradient norm and trust ratios after each execution.

    The step is the optimizer's own count of updates, so that curves continue where a resumed run
    continues. Names: `optimizer/learning_rate`, `optimizer/loss_scale`,
    `optimizer/skipped_steps`, `optimizer/gradient_norm`, and by variable `weight_norm/PATH`,
    `update_norm/PATH`, `trust_ratio/PATH`.

    Gradient norm and ratios are those of AdamW, LAMB and LARS with `record_statistics=True`, the
    loss scale that of a `LossScaleOptimizer`. Reading them waits for the device: with many steps
    an execution this costs next to nothing.

    Args:
        log_dir: Folder; the events are written to `log_dir/optimizer`.

    Raises:
        ValueError: when training starts, with one of these three that does not record.
    """

    def __init__(self, log_dir: str | os.PathLike) -> None:
        super().__init__()
        self.log_dir = os.path.join(os.fspath(log_dir), "optimizer")
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the file of events."""
        optimizer = innermost(self.model.optimizer)
        if getattr(optimizer, "record_statistics", True) is False:
            name = type(optimizer).__name__
            raise ValueError(f"OptimizerLogger needs {name}(record_statistics=True)")
        self._writer = Writer(self.log_dir)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes one point of every curve."""
        optimizer = self.model.optimizer
        inner = innermost(optimizer)
        step = int(ops.convert_to_numpy(inner.iterations))
        for tag, value in self._scalars(optimizer, inner):
            self._writer.add_scalar(tag, float(value), step)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the file of events."""
        self._writer.close()

    def _scalars(
        self, optimizer: keras.optimizers.Optimizer, inner: keras.optimizers.Optimizer
    ) -> Iterator[tuple[str, Any]]:
        yield "optimizer/learning_rate", ops.convert_to_numpy(inner.learning_rate)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            yield "optimizer/loss_scale", ops.convert_to_numpy(optimizer.dynamic_scale)
        if hasattr(optimizer, "skipped_steps"):
            yield "optimizer/skipped_steps", ops.convert_to_numpy(optimizer.skipped_steps)
        if getattr(inner, "record_statistics", False):
            yield "optimizer/gradient_norm", inner.gradient_norm()
            for path, ratio in inner.trust_ratios().items():
                for name, value in ratio._asdict().items():
                    yield f"{name}/{path}", value

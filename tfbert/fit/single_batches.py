"""`train_on_batch`, `test_on_batch` and `predict_on_batch`, on any strategy."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from tfbert.fit import keras_internals
from tfbert.fit.batches.epoch_data import EpochData
from tfbert.fit.batches.preprocessing import one_batch, takes_raw_samples
from tfbert.hardware.strategies import is_tpu

# A mixin: the methods that it calls are those of the Keras model that it is combined with.
if TYPE_CHECKING:
    from keras import Model as _Base
else:
    _Base = object


class SingleBatches(_Base):
    """The part of `DistributedTrainer` that takes one global batch at a time."""

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update with one global batch; returns the metrics."""
        self._assert_compile_called("train_on_batch")
        data = self._prepare(one_batch(x, y, sample_weight), class_weight=class_weight)
        return self._on_batch(self.make_train_function(), data, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The metrics of one global batch."""
        self._assert_compile_called("test_on_batch")
        data = self._prepare(one_batch(x, y, sample_weight))
        return self._on_batch(self.make_test_function(), data, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs of one global batch.

        On a single replica without a `tf.data` pipeline, which takes longer to begin than a few
        rows take to compute.
        """
        strategy = self.distribute_strategy
        is_one = strategy.num_replicas_in_sync == 1 and not is_tpu(strategy)
        if not is_one or takes_raw_samples(self):
            return self.predict(one_batch(x), verbose=0)
        function = self.make_predict_function().of_batch
        outputs = function(keras.tree.map_structure(keras.ops.convert_to_tensor, x))
        return keras.tree.map_structure(keras_internals.as_numpy, outputs)

    def _on_batch(self, function: Callable[..., Any], data: EpochData, return_dict: bool) -> Any:
        self.reset_metrics()
        (execution,) = data.executions(1)
        logs = keras_internals.pythonify_logs(execution.run(function))
        return logs if return_dict else self._flatten_metrics_in_order(logs)

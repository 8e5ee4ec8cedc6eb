"""`train_on_batch` and its like, on any strategy."""

import keras
import tensorflow as tf

from tfbert.fit import keras_internals


class SingleBatches:
    """The part of `DistributedTrainer` that takes one global batch at a time."""

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One update with one global batch."""
        self._assert_compile_called("train_on_batch")
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("give sample_weight or class_weight, not both")
            sample_weight = keras_internals.sample_weights_of_classes(y, class_weight)
        data = self._prepare(_one_batch(x, y, sample_weight))
        return self._on_batch(self.make_train_function(), data, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """The metrics of one global batch."""
        self._assert_compile_called("test_on_batch")
        data = self._prepare(_one_batch(x, y, sample_weight))
        return self._on_batch(self.make_test_function(), data, return_dict)

    def predict_on_batch(self, x):
        """The outputs of one global batch."""
        return self.predict(_one_batch(x), verbose=0)

    def _on_batch(self, function, data, return_dict):
        self.reset_metrics()
        (execution,) = data.executions(1)
        logs, _ = function(execution.iterator, 1, is_sure=True)
        logs = keras_internals.pythonify_logs(logs)
        return logs if return_dict else self._flatten_metrics_in_order(logs)


def _one_batch(*parts):
    """A dataset of one batch: (x, y, sample_weight), shortened where the last are None."""
    parts = tuple(part for part in parts if part is not None)
    parts = keras.tree.map_structure(tf.convert_to_tensor, parts)
    return tf.data.Dataset.from_tensors(parts if len(parts) > 1 else parts[0])

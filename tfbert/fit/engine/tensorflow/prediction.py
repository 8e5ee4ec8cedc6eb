"""The function behind `predict`, and its outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfbert.fit import keras_internals
from tfbert.fit.engine.tensorflow.replicas import compiled, in_order


def make_predict_function(model: keras.Model) -> Callable[[Any], Any]:
    """The function behind `predict`.

    Returns:
        A function of an iterator over distributed batches; it returns the outputs of one batch in
        the order of its rows, and raises `StopIteration` or `tf.errors.OutOfRangeError` at the end.
        Its attribute `of_batch` is the same function of one batch, for a single replica.
    """
    strategy = model.distribute_strategy
    forward = compiled(model, lambda x: model(x, training=False))

    def step(batch: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        return forward(x)

    def of_batch(batch: Any) -> Any:
        outputs = strategy.run(step, args=(batch,))
        return keras.tree.map_structure(lambda output: in_order(strategy, output), outputs)

    def function(iterator: Any) -> Any:
        return of_batch(next(iterator))

    if not model.run_eagerly:
        of_batch = tf.function(of_batch, autograph=False, reduce_retracing=True)
        function = tf.function(function, autograph=False, reduce_retracing=True)
    function.of_batch = of_batch  # type: ignore[attr-defined]
    return function


def concatenated(batches: Sequence[Any]) -> Any:
    """The outputs of several batches as one, at least one batch; ragged if lengths differ."""
    join = keras_internals.ragged_concatenation
    assert join is not None  # of TensorFlow
    return keras.tree.map_structure(lambda *outputs: join(list(outputs)), *batches)

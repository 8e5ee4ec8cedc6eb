"""What is below the loop, by Keras' backend: replicas, gradients, micro-batches, data on devices.

Both backends have the same functions; `fit` calls them by the names that stand here. May import
what `fit/` may, and of `fit/` itself `keras_internals`, `replica_metrics` and `batches`.
"""

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING or keras.backend.backend() != "jax":
    from tfbert.fit.engine.tensorflow.accumulation import over_micro_batches, parts_of_replica
    from tfbert.fit.engine.tensorflow.data import (
        END_OF_DATA,
        adapter_feed,
        is_batch_source,
        is_divided,
        ready_feed,
        source_feed,
    )
    from tfbert.fit.engine.tensorflow.gradients import gradients
    from tfbert.fit.engine.tensorflow.model import ModelOnDevices
    from tfbert.fit.engine.tensorflow.prediction import concatenated, make_predict_function
    from tfbert.fit.engine.tensorflow.replicas import compiled, run_steps
else:
    from tfbert.fit.engine.jax.data import (
        END_OF_DATA,
        adapter_feed,
        is_batch_source,
        is_divided,
        ready_feed,
        source_feed,
    )
    from tfbert.fit.engine.jax.functional import gradients
    from tfbert.fit.engine.jax.micro_batches import over_micro_batches, parts_of_replica
    from tfbert.fit.engine.jax.model import ModelOnDevices
    from tfbert.fit.engine.jax.prediction import concatenated, make_predict_function
    from tfbert.fit.engine.jax.replicas import compiled, run_steps

__all__ = [
    "END_OF_DATA",
    "ModelOnDevices",
    "adapter_feed",
    "compiled",
    "concatenated",
    "gradients",
    "is_batch_source",
    "is_divided",
    "make_predict_function",
    "over_micro_batches",
    "parts_of_replica",
    "ready_feed",
    "run_steps",
    "source_feed",
]

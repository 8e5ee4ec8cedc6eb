"""LiteRT (formerly TensorFlow Lite), by Keras' exporter: token ids in, logits or vectors out."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import keras


def write_litert(model: keras.Model, path: Path) -> None:
    """Writes a model of `tfbert.models.exports.plain` as a `.tflite` file, float32.

    Its signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32 of
    shape (batch, tokens), with any number of both, and returns the model's outputs by name. All
    operations are LiteRT's own: no part of TensorFlow is needed where it runs.
    """
    import tensorflow as tf

    with contextlib.redirect_stdout(io.StringIO()):  # Keras 3.13 prints where the file is
        model.export(
            str(path),
            format="litert",
            target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
            # Constants instead: variables would be kept twice in memory.
            experimental_enable_resource_variables=False,
        )

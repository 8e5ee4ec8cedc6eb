"""ONNX, by Keras' exporter and tf2onnx: token ids in, logits or vectors out."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras

OPSET = 17  # of ONNX 1.12 (2022): onnxruntime 1.12 and all later ones run it
_AXES = ("batch", "tokens")


def write_onnx(model: keras.Model, path: Path) -> None:
    """Writes a model of `tfbert.models.exports.plain` as an ONNX file, float32.

    Inputs are `token_ids`, `segment_ids` and `padding_mask`, int32 of shape (batch, tokens), with
    any number of both at each call; outputs have the model's names.
    """
    import onnx

    with _quiet():
        model.export(
            str(path),
            format="onnx",
            verbose=False,
            input_signature=[_specification(model)],
            opset_version=OPSET,
        )
    content = onnx.load(path)
    # tf2onnx numbers the axes of free size (`unk__762`); the same size has the same name here.
    for value in (*content.graph.input, *content.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, _AXES, strict=False):
            if not axis.HasField("dim_value"):
                axis.dim_param = name
    # tf2onnx writes operations that ONNX lacks as they are, and only logs it.
    onnx.checker.check_model(content)
    onnx.save(content, path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings that mean nothing here.

    NumPy's are of Keras' patch of tf2onnx; TensorFlow's are of look-up tables that other models in
    the process have, and that have no name in the collections of TensorFlow 1.
    """
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _specification(model: keras.Model) -> dict[str, keras.InputSpec]:
    return {
        name: keras.InputSpec(dtype=tensor.dtype, shape=tensor.shape, name=name)
        for name, tensor in model.input.items()
    }

"""The weights of a BERT as a file of another program holds them, found by the paths of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfbert.errors import InputError
from tfbert.models.formats.huggingface_names import from_huggingface, huggingface_shape

Shape = tuple[int, ...]

TASK_HEAD = "fine-tuned"
HEADS = {  # by the name of a head, the paths of its weights
    "masked-LM": (
        *("mlm_head/dense/kernel", "mlm_head/dense/bias"),
        *("mlm_head/layer_norm/gamma", "mlm_head/layer_norm/beta", "mlm_head/bias"),
    ),
    "next-sentence": ("nsp_head/kernel", "nsp_head/bias"),
    TASK_HEAD: ("logits/kernel", "logits/bias"),
}
POOLER = ("pooled_dense/kernel", "pooled_dense/bias")


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """The weights in a file or in several.

    Args:
        where: The file or the folder, for messages.
        shapes: By name, the shape that each has there.
        read: Reads the one with a name.
        names_of: From the path of a variable to the names that it may have there. More may stand
            before such a name, as in `encoder.` + `bert.pooler.dense.bias`; not before a name
            without a `separator`.
        separator: Between the parts of a name.
        is_transposed: Whether the matrix with a path is (outputs, inputs) there.
    """

    where: str
    shapes: Mapping[str, Shape]
    read: Callable[[str], np.ndarray]
    names_of: Callable[[str], Sequence[str]]
    separator: str = "/"
    is_transposed: Callable[[str], bool] = lambda path: False
    _by_ending: dict[str, str] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        endings: dict[str, str] = {}
        for name in sorted(self.shapes, key=len, reverse=True):  # the shortest name wins
            parts = name.split(self.separator)
            for first in range(len(parts) - 1):
                endings[self.separator.join(parts[first:])] = name
            endings[name] = name
        object.__setattr__(self, "_by_ending", endings)

    def name_of(self, path: str) -> str | None:
        """What the variable with a path is called in the file; None if it is not there."""
        names = (self._by_ending.get(name) for name in self.names_of(path))
        return next((name for name in names if name is not None), None)

    def has(self, paths: Iterable[str]) -> bool:
        """Whether there is any of these."""
        return any(self.name_of(path) is not None for path in paths)

    def check(self, expected: Iterable[tuple[str, Shape]]) -> None:
        """Compares what is there with the paths and shapes of variables, before any is read.

        Raises:
            InputError: If one is missing or has another shape.
        """
        missing = []
        for path, shape in expected:
            name = self.name_of(path)
            if name is None:
                missing.append(self.names_of(path)[0])
            elif self.shapes[name] not in self._possible_shapes(path, shape):
                wanted = self._possible_shapes(path, shape)[0]
                raise InputError(
                    f"{self.where}: {name} is {_text(self.shapes[name])} and the configuration "
                    f"says {_text(wanted)}"
                )
        if missing:
            others = f" and {len(missing) - 1} other weights" if len(missing) > 1 else ""
            raise InputError(f"{self.where}: not a complete BERT: lacks {missing[0]}{others}")

    def value(self, path: str, shape: Shape) -> np.ndarray:
        """The value of the variable with a path, in its own shape, float32.

        Raises:
            InputError: If it is missing, misshapen, not finite, or cannot be read.
        """
        self.check([(path, shape)])
        name = self.name_of(path)
        assert name is not None
        value = np.asarray(self.read(name))
        if value.dtype.kind in "biu":
            raise InputError(
                f"{self.where}: {name} is {value.dtype}: quantized weights are not read; take the "
                "model in float32 or float16"
            )
        try:
            value = value.astype(np.float32)
        except (ValueError, TypeError) as error:  # strings, or records of several fields
            raise InputError(f"{self.where}: {name} is {value.dtype}, no numbers") from error
        if not np.isfinite(value).all():
            raise InputError(
                f"{self.where}: {name} has values that are no finite numbers (NaN): the model is "
                "damaged, or its training diverged; take another checkpoint of it"
            )
        if value.shape == huggingface_shape(path, shape) and self.is_transposed(path):
            return from_huggingface(path, value, shape)
        return value.reshape(shape)

    def _possible_shapes(self, path, shape):
        """With heads as an axis of their own, as in Keras, or without."""
        flat = huggingface_shape(path, shape)
        if not path.endswith("/kernel"):
            return [flat, shape]
        return [flat] if self.is_transposed(path) else [flat[::-1], shape]


def encoder_shapes(
    arguments: Mapping[str, Any], pooler: bool = True
) -> Iterator[tuple[str, Shape]]:
    """(path, shape) of every weight of a `BertEncoder` with these arguments, without making it."""
    width, heads = arguments["hidden_dim"], arguments["num_heads"]
    inner, per_head = arguments["intermediate_dim"], width // heads
    yield "token_embedding/embeddings", (arguments["vocabulary_size"], width)
    yield "position_embedding/embeddings", (arguments["max_sequence_length"], width)
    yield "segment_embedding/embeddings", (arguments["num_segments"], width)
    yield "embeddings_layer_norm/gamma", (width,)
    yield "embeddings_layer_norm/beta", (width,)
    for number in range(arguments["num_layers"]):
        layer = f"transformer_layer_{number}"
        for part in ("query", "key", "value"):
            yield f"{layer}/self_attention_layer/{part}/kernel", (width, heads, per_head)
            yield f"{layer}/self_attention_layer/{part}/bias", (heads, per_head)
        output = f"{layer}/self_attention_layer/attention_output"
        yield f"{output}/kernel", (heads, per_head, width)
        yield f"{output}/bias", (width,)
        for norm in ("self_attention_layer_norm", "feedforward_layer_norm"):
            yield f"{layer}/{norm}/gamma", (width,)
            yield f"{layer}/{norm}/beta", (width,)
        yield f"{layer}/feedforward_intermediate_dense/kernel", (width, inner)
        yield f"{layer}/feedforward_intermediate_dense/bias", (inner,)
        yield f"{layer}/feedforward_output_dense/kernel", (inner, width)
        yield f"{layer}/feedforward_output_dense/bias", (width,)
    if pooler:
        yield from zip(POOLER, ((width, width), (width,)), strict=True)


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a single number"

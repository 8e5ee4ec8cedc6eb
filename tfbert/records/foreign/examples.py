"""Reads `tf.train.Example`s of other programs: lists of integers under their names of features."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format

from tfbert.errors import InputError
from tfbert.records.tfrecords import Frames

_NAMES = (
    "token_ids",
    "segment_ids",
    "padding_mask",
    "mask_positions",
    "mask_ids",
    "mask_weights",
    "next_sentence_labels",
)
# KerasHub's names by those of Google's and NVIDIA's scripts, of the Model Garden, and its own.
KERAS_NAMES = {
    "input_ids": "token_ids",
    "input_word_ids": "token_ids",
    "input_type_ids": "segment_ids",
    "input_mask": "padding_mask",
    "masked_lm_positions": "mask_positions",
    "masked_lm_ids": "mask_ids",
    "masked_lm_weights": "mask_weights",
    **{name: name for name in _NAMES},
}


# `tf.train.Example` as protobuf's compiler would describe it: so it is read without TensorFlow.
_SCHEMA = """
name: "example.proto" syntax: "proto3"
message_type { name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".Features" } }
message_type { name: "Features"
  field { name: "feature" number: 1 type: TYPE_MESSAGE type_name: ".Features.FeatureEntry"
          label: LABEL_REPEATED }
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".Feature" } } }
message_type { name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type: TYPE_MESSAGE type_name: ".Bytes" oneof_index: 0 }
  field { name: "float_list" number: 2 type: TYPE_MESSAGE type_name: ".Floats" oneof_index: 0 }
  field { name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: ".Integers" oneof_index: 0 } }
message_type { name: "Bytes"
  field { name: "value" number: 1 type: TYPE_BYTES label: LABEL_REPEATED } }
message_type { name: "Floats"
  field { name: "value" number: 1 type: TYPE_FLOAT label: LABEL_REPEATED } }
message_type { name: "Integers"
  field { name: "value" number: 1 type: TYPE_INT64 label: LABEL_REPEATED } }
"""


def parse_examples(frames: Frames, name: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`RecordSource.decode` of another program's records: integers as int32, weights as float32.

    Segments and padding that are not in them are filled in: one segment, and padding of id 0.

    Raises:
        InputError: If the first record is not an example of BERT pre-training.
    """
    good = frames.good.copy()
    raw = [
        frames.data[begin : begin + length].tobytes()
        for begin, length in zip(frames.offsets[good], frames.lengths[good], strict=True)
    ]
    if not raw:
        return {}, good
    kinds = features_of(raw[0], name)
    arrays: dict[str, np.ndarray] = {
        feature: np.zeros((len(raw), size), np.float32 if is_float else np.int64)
        for feature, (is_float, size) in kinds.items()
    }
    is_sound = np.array([_read(record, kinds, arrays, row) for row, record in enumerate(raw)])
    good[np.flatnonzero(good)[~is_sound]] = False
    found = {KERAS_NAMES[feature]: array[is_sound] for feature, array in arrays.items()}
    arrays = {
        feature: array.astype(np.int32) if array.dtype == np.int64 else array
        for feature, array in found.items()
    }
    if "next_sentence_labels" in arrays:
        arrays["next_sentence_labels"] = arrays["next_sentence_labels"].reshape(-1)
    arrays.setdefault("segment_ids", np.zeros_like(arrays["token_ids"]))
    arrays.setdefault("padding_mask", (arrays["token_ids"] != 0).astype(np.int32))
    return arrays, good


def features_of(record: bytes, name: Path) -> dict[str, tuple[bool, int]]:
    """The features of a record that pre-training needs: (whether floats, how many) by name.

    Raises:
        InputError: If it is not an example of BERT pre-training; `name` is its file's.
    """
    try:
        features = _example_class().FromString(record).features.feature
    except message.DecodeError as error:
        raise InputError(f"{name}: holds no tf.train.Example records") from error
    found = {}
    for feature, value in features.items():
        if feature not in KERAS_NAMES:
            continue
        kind = value.WhichOneof("kind")
        if kind == "bytes_list" or kind is None:
            raise InputError(
                f"{name}: feature {feature} is packed bytes of unknown type; "
                "such records need the dataset.json that `tfbert prepare` wrote with them"
            )
        is_float = kind == "float_list"
        found[feature] = is_float, len((value.float_list if is_float else value.int64_list).value)
    names = [KERAS_NAMES[feature] for feature in found]
    if "token_ids" not in names:
        raise InputError(
            f"{name}: no feature input_ids or token_ids; it has {', '.join(sorted(features))}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{name}: has a feature under two names: {', '.join(sorted(found))}")
    masks = {"mask_positions", "mask_ids", "mask_weights"}
    if 0 < len(masks & set(names)) < len(masks):
        raise InputError(f"{name}: only some of the masks' features: {', '.join(sorted(found))}")
    return found


def _read(
    record: bytes, kinds: dict[str, tuple[bool, int]], arrays: dict[str, np.ndarray], row: int
) -> bool:
    """Reads a record's features into a row of the arrays; whether it has all, in their sizes."""
    try:
        features = _example_class().FromString(record).features.feature
    except message.DecodeError:
        return False
    for feature, (is_float, size) in kinds.items():
        value = features[feature]  # an empty one where it is missing
        numbers = (value.float_list if is_float else value.int64_list).value
        if len(numbers) != size:
            return False
        arrays[feature][row] = numbers
    return True


@functools.cache
def _example_class() -> Any:
    pool = descriptor_pool.DescriptorPool()  # of its own: TensorFlow's has the same names
    pool.Add(text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Example"))

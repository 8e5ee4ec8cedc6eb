"""Reads `tf.train.Example`s of other programs: lists of integers under their names of features."""

from pathlib import Path
from typing import Any

import numpy as np

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


def parse_examples(frames: Frames, name: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`RecordSource.decode` of another program's records: integers as int32, weights as float32.

    Segments and padding that are not in them are filled in: one segment, and padding of id 0.

    Raises:
        InputError: If the first record is not an example of BERT pre-training.
    """
    import tensorflow as tf

    good = frames.good.copy()
    raw = [
        frames.data[begin : begin + length].tobytes()
        for begin, length in zip(frames.offsets[good], frames.lengths[good], strict=True)
    ]
    if not raw:
        return {}, good
    specification = {
        feature: tf.io.FixedLenFeature([size], tf.float32 if is_float else tf.int64)
        for feature, (is_float, size) in features_of(raw[0], name).items()
    }
    try:
        parsed = tf.io.parse_example(raw, specification)
    except tf.errors.InvalidArgumentError:
        # One bad record spoils the call: look at each on its own.
        sound = np.array([_is_sound(record, specification) for record in raw])
        good[np.flatnonzero(good)[~sound]] = False
        parsed = tf.io.parse_example(
            [record for record, is_sound in zip(raw, sound, strict=True) if is_sound], specification
        )
    arrays = {}
    for feature, tensor in parsed.items():
        kind = np.float32 if tensor.dtype == tf.float32 else np.int32
        arrays[KERAS_NAMES[feature]] = tensor.numpy().astype(kind)
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
    import tensorflow as tf

    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf's exception differs by release
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


def _is_sound(record: bytes, specification: dict[str, Any]) -> bool:
    import tensorflow as tf

    try:
        tf.io.parse_single_example(record, specification)
    except tf.errors.InvalidArgumentError:
        return False
    return True

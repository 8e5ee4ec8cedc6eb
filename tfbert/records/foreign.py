"""Records made by other people's scripts: lists of integers under Google's feature names.

Google's `create_pretraining_data.py` and NVIDIA's TensorFlow scripts write `tf.train.Example`s with
`input_ids`, `masked_lm_positions`, ...; KerasHub's names in packed bytes or lists are read as well.
"""

import numpy as np

from tfbert.errors import InputError

NAMES = {
    "input_ids": "token_ids",
    "input_mask": "padding_mask",
    "masked_lm_positions": "mask_positions",
    "masked_lm_ids": "mask_ids",
    "masked_lm_weights": "mask_weights",
}
_OURS = (
    "token_ids",
    "segment_ids",
    "padding_mask",
    "mask_positions",
    "mask_ids",
    "mask_weights",
    "next_sentence_labels",
)


def parse_examples(frames, name):
    """Parses the sound records of a file.

    Args:
        frames: `Frames`.
        name: The file's, for messages.

    Returns:
        (arrays, good): dictionary of arrays (good records, ...) under KerasHub's names, integers
        as int32 and weights as float32; (records,) bool, which records they are.

    Raises:
        InputError: If the first record is no example of BERT pre-training.
    """
    import tensorflow as tf

    good = frames.good.copy()
    raw = [
        frames.data[begin : begin + length].tobytes()
        for begin, length in zip(frames.offsets[good], frames.lengths[good], strict=True)
    ]
    if not raw:
        return {}, good
    specification = _specification(tf, raw[0], name)
    try:
        parsed = tf.io.parse_example(raw, specification)
    except tf.errors.InvalidArgumentError:
        # One bad record spoils the call: look at each on its own.
        sound = np.array([_is_sound(tf, record, specification) for record in raw])
        good[np.flatnonzero(good)[~sound]] = False
        parsed = tf.io.parse_example(
            [record for record, is_sound in zip(raw, sound, strict=True) if is_sound], specification
        )
    arrays = {}
    for feature, tensor in parsed.items():
        kind = np.float32 if tensor.dtype == tf.float32 else np.int32
        values = tensor.numpy().astype(kind)
        arrays[NAMES.get(feature, feature)] = values
    if "next_sentence_labels" in arrays:
        arrays["next_sentence_labels"] = arrays["next_sentence_labels"].reshape(-1)
    return arrays, good


def _specification(tf, record, name):
    """The shapes of the features, after the first record."""
    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf has one exception a release
        raise InputError(f"{name}: holds no tf.train.Example records") from error
    specification = {}
    for feature, value in features.items():
        if NAMES.get(feature, feature) not in _OURS:
            continue
        kind = value.WhichOneof("kind")
        if kind == "bytes_list" or kind is None:
            raise InputError(
                f"{name}: feature {feature} is packed bytes of unknown type; "
                "such records need the dataset.json that `tfbert prepare` wrote beside them"
            )
        is_float = kind == "float_list"
        values = (value.float_list if is_float else value.int64_list).value
        specification[feature] = tf.io.FixedLenFeature(
            [len(values)], tf.float32 if is_float else tf.int64
        )
    if not {"input_ids", "token_ids"} & set(specification):
        raise InputError(
            f"{name}: no feature input_ids or token_ids; it has {', '.join(sorted(features))}"
        )
    return specification


def _is_sound(tf, record, specification):
    try:
        tf.io.parse_single_example(record, specification)
    except tf.errors.InvalidArgumentError:
        return False
    return True

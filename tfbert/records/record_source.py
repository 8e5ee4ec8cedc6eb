"""Record sources: the files that training records are read from, and how they are laid out.

Records come from `tfbert prepare`, or from another program: lists of integers under Google's names
of features, as its `create_pretraining_data.py` and NVIDIA's TensorFlow scripts write them.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.records.description import DATASET_FILE, VOCABULARY_FILE, is_unfinished, read_dataset
from tfbert.records.masking import Masker, default_predictions
from tfbert.records.tfrecords import Frames, Layout, read_frames
from tfbert.text.vocabulary import Vocabulary, read_vocabulary

# Google's names of features, and KerasHub's.
_GOOGLES_NAMES = {
    "input_ids": "token_ids",
    "input_mask": "padding_mask",
    "masked_lm_positions": "mask_positions",
    "masked_lm_ids": "mask_ids",
    "masked_lm_weights": "mask_weights",
}
_NAMES = (
    "token_ids",
    "segment_ids",
    "padding_mask",
    "mask_positions",
    "mask_ids",
    "mask_weights",
    "next_sentence_labels",
)


class Shard(NamedTuple):
    """A record file, and how many examples it was written with."""

    path: Path
    examples: int


@dataclasses.dataclass(frozen=True)
class RecordSource:
    """The files to read and how.

    Args:
        length: Tokens a sequence.
        layout: Of packed records; None for lists of integers.
        vocabulary: None if it is not known.
        masker: For records without masks; None where they are in the records, or where none are
            asked for.
    """

    shards: list[Shard]
    length: int
    layout: Layout | None
    vocabulary: Vocabulary | None
    masker: Masker | None

    @property
    def examples(self) -> int:
        """How many there are in all shards."""
        return sum(shard.examples for shard in self.shards)

    @property
    def predictions(self) -> int:
        """Masked positions a sequence, as the description has them; 0 without masks."""
        if self.masker is not None:
            return self.masker.max_predictions
        features = self.layout.features if self.layout is not None else {}
        _, shape = features.get("mask_positions", (None, (0,)))
        return shape[0]

    def decode(self, frames: Frames, name: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The sound records of a file of this source; `name` is the file's, for messages.

        Returns:
            (arrays, good): dictionary of arrays (good records, ...) under KerasHub's names; and
            (records,) bool, which records they are.
        """
        if self.layout is None:
            return _parse_examples(frames, name)
        arrays, good = self.layout.decode(frames.data, frames.offsets, frames.lengths)
        arrays = {name: values[frames.good[good]] for name, values in arrays.items()}
        return arrays, good & frames.good


def open_records(
    path: str | Path,
    length: int | None = None,
    split: str = "train",
    vocabulary: str | Path | None = None,
) -> RecordSource:
    """Finds record files.

    Args:
        path: A folder of `tfbert prepare`, a record file, or a folder of record files that another
            program made (all files with "tfrecord" in the name).
        length: Which of the prepared sequence lengths; the only one or the shortest by default.
        split: `train` or `validation`, in a prepared folder.
        vocabulary: Path of the vocabulary, for records that came without one; needed to draw masks
            for records that have none.

    Raises:
        InputError: If there are no such records.
    """
    place = as_path(path)
    prepared = (place / DATASET_FILE).exists() or is_unfinished(place)
    if prepared or (place.is_dir() and not _record_files(place)):
        dataset = read_dataset(place)
        shortest = min(dataset["options"]["lengths"])
        return open_prepared(place, dataset, split, shortest if length is None else length)
    return _open_unprepared(place, length, vocabulary)


def open_prepared(
    directory: str | Path,
    dataset: dict[str, Any],
    split: str,
    length: int,
    predictions: int | None = None,
) -> RecordSource:
    """The records of one sequence length in a folder of `tfbert prepare`.

    Args:
        directory: The folder.
        dataset: Its description, from `read_dataset`.
        split: `train` or `validation`.
        length: Tokens a sequence.
        predictions: Masked positions a sequence; None takes what the records were prepared for.

    Raises:
        InputError: If there are no such records, or they cannot have so many predictions.
    """
    directory = as_path(directory)
    options = dataset["options"]
    lengths = options["lengths"]
    if length not in lengths:
        raise InputError(
            f"{directory}: no records of length {length}; there are {', '.join(map(str, lengths))}"
        )
    shards = [
        Shard(directory / shard["file"], shard["examples"])
        for shard in dataset["shards"]
        if shard["split"] == split and shard["length"] == length
    ]
    vocabulary = read_vocabulary(directory / VOCABULARY_FILE)
    digest = hashlib.sha256(vocabulary.to_bytes()).hexdigest()
    if digest != dataset["vocabulary"].get("sha256"):
        raise InputError(
            f"{directory / VOCABULARY_FILE}: is not the vocabulary of these records; put that one "
            "back or prepare the text again"
        )
    masker = None
    if options["masking"] == "dynamic":
        masker = Masker(
            vocabulary,
            predictions or options["max_predictions"][lengths.index(length)],
            options["mask_fraction"],
            options["whole_word"],
            options["ngram"],
        )
    layout = Layout(dataset["features"][str(length)])
    source = RecordSource(_checked(shards, directory, split), length, layout, vocabulary, masker)
    if predictions not in (None, source.predictions):
        raise InputError(
            f"{directory}: its masks are fixed, {source.predictions} a sequence of length {length},"
            f" not {predictions}: leave predictions out, or prepare with --masking dynamic"
        )
    return source


def _record_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*tfrecord*") if path.is_file())


def _checked(shards: list[Shard], path: Path, split: str) -> list[Shard]:
    """The shards that are not empty."""
    shards = [shard for shard in shards if shard.examples]
    if not shards:
        raise InputError(f"{path}: holds no {split} examples of this length")
    missing = [shard.path for shard in shards if not shard.path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: this shard is missing; copy it or prepare the text again")
    return shards


def _open_unprepared(
    path: Path, length: int | None, vocabulary_path: str | Path | None
) -> RecordSource:
    """Records of another program."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    shards = []
    for file in [path] if path.is_file() else _record_files(path):
        # There is no list of counts, so the headers of the records are counted once.
        frames = read_frames(file, check=False)
        if not len(frames.offsets) and frames.rest:
            raise InputError(f"{file}: is not a record file ({frames.rest})")
        shards.append(Shard(file, len(frames.offsets)))
    vocabulary = read_vocabulary(vocabulary_path) if vocabulary_path else None
    shards = _checked(shards, path, "train")
    first = shards[0].path
    arrays, _ = _parse_examples(read_frames(first), first)
    if not arrays:
        raise InputError(f"{first}: every record in it is damaged")
    found = arrays["token_ids"].shape[1]
    if length not in (None, found):
        raise InputError(f"{path}: its sequences have {found} tokens, not {length}")
    masker = None
    if "mask_positions" not in arrays:
        if vocabulary is None:
            raise InputError(f"{path}: the records hold no masks, and drawing them needs --vocab")
        masker = Masker(vocabulary, default_predictions(found))
    return RecordSource(shards, found, None, vocabulary, masker)


def _parse_examples(frames: Frames, name: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`RecordSource.decode` of another program's records: integers as int32, weights as float32.

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
    specification = _specification(raw[0], name)
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
        arrays[_GOOGLES_NAMES.get(feature, feature)] = tensor.numpy().astype(kind)
    if "next_sentence_labels" in arrays:
        arrays["next_sentence_labels"] = arrays["next_sentence_labels"].reshape(-1)
    return arrays, good


def _specification(record: bytes, name: Path) -> dict[str, Any]:
    """By feature its `tf.io.FixedLenFeature`, as in this record."""
    import tensorflow as tf

    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf's exception differs by release
        raise InputError(f"{name}: holds no tf.train.Example records") from error
    specification = {}
    for feature, value in features.items():
        if _GOOGLES_NAMES.get(feature, feature) not in _NAMES:
            continue
        kind = value.WhichOneof("kind")
        if kind == "bytes_list" or kind is None:
            raise InputError(
                f"{name}: feature {feature} is packed bytes of unknown type; "
                "such records need the dataset.json that `tfbert prepare` wrote with them"
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


def _is_sound(record: bytes, specification: dict[str, Any]) -> bool:
    import tensorflow as tf

    try:
        tf.io.parse_single_example(record, specification)
    except tf.errors.InvalidArgumentError:
        return False
    return True

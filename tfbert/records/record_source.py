"""Record sources: the files that training records are read from, and how they are laid out.

Records come from `tfbert prepare`, or from another program (`tfbert.records.foreign`): lists of
integers under Google's names of features, or the Model Garden's.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.records.description import DATASET_FILE, VOCABULARY_FILE, is_unfinished, read_dataset
from tfbert.records.foreign.dataset import describe_foreign, record_files
from tfbert.records.foreign.examples import parse_examples
from tfbert.records.masking import Masker
from tfbert.records.tfrecords import Frames, Layout
from tfbert.text.vocabulary import Vocabulary, read_vocabulary


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
        places: Of masks that are fixed in records of another program, a sequence.
    """

    shards: list[Shard]
    length: int
    layout: Layout | None
    vocabulary: Vocabulary | None
    masker: Masker | None
    places: int = 0

    @property
    def examples(self) -> int:
        """How many there are in all shards."""
        return sum(shard.examples for shard in self.shards)

    @property
    def predictions(self) -> int:
        """Masked positions a sequence, as the description has them; 0 without masks."""
        if self.masker is not None:
            return self.masker.max_predictions
        if self.layout is None:
            return self.places
        _, shape = self.layout.features.get("mask_positions", (None, (0,)))
        return shape[0]

    def decode(self, frames: Frames, name: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The sound records of a file of this source; `name` is the file's, for messages.

        Returns:
            (arrays, good): dictionary of arrays (good records, ...) under KerasHub's names; and
            (records,) bool, which records they are.
        """
        if self.layout is None:
            return parse_examples(frames, name)
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
    if _is_prepared(place):
        dataset = read_dataset(place)
    else:
        dataset, split = describe_foreign(place, vocabulary), "train"
    shortest = min(dataset["options"]["lengths"])
    return open_prepared(place, dataset, split, shortest if length is None else length)


def open_prepared(
    directory: str | Path,
    dataset: dict[str, Any],
    split: str,
    length: int,
    predictions: int | None = None,
) -> RecordSource:
    """The records of one sequence length, as their description says.

    Args:
        directory: The folder.
        dataset: Its description, from `read_dataset` or `find_dataset`.
        split: `train` or `validation`.
        length: Tokens a sequence.
        predictions: Masked positions a sequence; None takes what the records were prepared for.

    Raises:
        InputError: If there are no such records, or they cannot have so many predictions.
    """
    directory = as_path(directory)
    if "foreign" in dataset:
        return _open_foreign(directory, dataset, split, length, predictions)
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


def _checked(shards: list[Shard], path: Path, split: str) -> list[Shard]:
    """The shards that are not empty."""
    shards = [shard for shard in shards if shard.examples]
    if not shards:
        raise InputError(f"{path}: holds no {split} examples of this length")
    missing = [shard.path for shard in shards if not shard.path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: this shard is missing; copy it or prepare the text again")
    return shards


def _open_foreign(
    path: Path, dataset: dict[str, Any], split: str, length: int, predictions: int | None = None
) -> RecordSource:
    """`open_prepared` of another program's records, as `describe_foreign` describes them."""
    options = dataset["options"]
    lengths = options["lengths"]
    if length not in lengths:
        found = ", ".join(map(str, lengths))
        raise InputError(f"{path}: its sequences have {found} tokens, not {length}")
    shards = [
        Shard(as_path(shard["file"]), shard["examples"])
        for shard in dataset["shards"]
        if (shard["split"], shard["length"]) == (split, length)
    ]
    vocabulary = read_vocabulary(dataset["foreign"]) if dataset["foreign"] else None
    places = options["max_predictions"][lengths.index(length)]
    masker = None
    if options["masking"] == "dynamic" and vocabulary is not None:
        masker = Masker(vocabulary, predictions or places)
    elif predictions not in (None, places):
        raise InputError(
            f"{path}: its masks are fixed, {places} a sequence of length {length}, not "
            f"{predictions}: leave predictions out"
        )
    shards = _checked(shards, path, split)
    return RecordSource(shards, length, None, vocabulary, masker, places)


def find_dataset(path: str | Path, vocabulary: str | Path | None = None) -> dict[str, Any]:
    """The description of records, of `tfbert prepare` or of another program, to train on.

    Args:
        path: As in `open_records`.
        vocabulary: Path of the vocabulary of another program's records.

    Raises:
        InputError: If there are no such records, or no vocabulary, or one too many.
    """
    place = as_path(path)
    if _is_prepared(place):
        if vocabulary is not None:
            raise InputError(f"--vocab: {path} holds its own vocabulary; leave the option out")
        return read_dataset(place)
    dataset = describe_foreign(place, vocabulary)
    if vocabulary is None:
        raise InputError(
            f"{path}: holds records of another program, without their vocabulary: give --vocab"
        )
    return dataset


def _is_prepared(place: Path) -> bool:
    """Whether records are those of `tfbert prepare`; where there are none, they should be."""
    if (place / DATASET_FILE).exists() or is_unfinished(place):
        return True
    return place.is_dir() and not record_files(place)

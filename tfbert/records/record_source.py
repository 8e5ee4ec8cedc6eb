"""Where training records lie, and how they are laid out: prepared ones and other people's."""

import dataclasses
import hashlib
from pathlib import Path
from typing import NamedTuple

from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.records.description import DATASET_FILE, VOCABULARY_FILE, is_unfinished, read_dataset
from tfbert.records.foreign import parse_examples
from tfbert.records.masking import Masker, default_predictions
from tfbert.records.tfrecords import Layout, read_frames
from tfbert.text.wordpieces import read_vocabulary


class Shard(NamedTuple):
    """A record file.

    Args:
        path: The file.
        examples: How many examples it was written with.
    """

    path: Path
    examples: int


@dataclasses.dataclass(frozen=True)
class RecordSource:
    """The files to read and how.

    Args:
        shards: List of `Shard`.
        length: Tokens a sequence.
        layout: `Layout` of packed records; None for lists of integers.
        vocabulary: `Vocabulary`, or None if it is not known.
        masker: `Masker` for records without masks; None where they are in the records, or where
            none are asked for.
    """

    shards: list
    length: int
    layout: Layout | None
    vocabulary: object
    masker: Masker | None


def open_records(path, length=None, split="train", vocabulary=None):
    """Finds record files.

    Args:
        path: A folder of `tfbert prepare`, a record file, or a folder of record files that another
            script made (all files with "tfrecord" in the name).
        length: Which of the prepared sequence lengths; the only one or the shortest by default.
        split: `train` or `validation`, in a prepared folder.
        vocabulary: Path of the vocabulary, for records that came without one; needed to draw masks
            for records that have none.

    Returns:
        `RecordSource`.

    Raises:
        InputError: If there are no such records.
    """
    path = as_path(path)
    prepared = (path / DATASET_FILE).exists() or is_unfinished(path)
    if prepared or (path.is_dir() and not _record_files(path)):
        return _open_prepared(path, length, split)
    return _open_foreign(path, length, vocabulary)


def _record_files(directory):
    return sorted(path for path in directory.glob("*tfrecord*") if path.is_file())


def _open_prepared(directory, length, split):
    dataset = read_dataset(directory)
    options = dataset["options"]
    lengths = options["lengths"]
    length = min(lengths) if length is None else length
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
            options["max_predictions"][lengths.index(length)],
            options["mask_fraction"],
            options["whole_word"],
            options["ngram"],
        )
    layout = Layout(dataset["features"][str(length)])
    return _checked(RecordSource(shards, length, layout, vocabulary, masker), directory, split)


def _open_foreign(path, length, vocabulary):
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else _record_files(path)
    shards = []
    for file in files:
        # There is no list of counts, so the headers of the records are counted once.
        frames = read_frames(file, check=False)
        if not len(frames.offsets) and frames.rest:
            raise InputError(f"{file}: is no record file ({frames.rest})")
        shards.append(Shard(file, len(frames.offsets)))
    vocabulary = vocabulary and read_vocabulary(vocabulary)
    source = _checked(RecordSource(shards, 0, None, vocabulary, None), path, "train")
    first = source.shards[0]
    arrays, _ = parse_examples(read_frames(first.path), first.path)
    if not arrays:
        raise InputError(f"{first.path}: every record in it is damaged")
    found = arrays["token_ids"].shape[1]
    if length not in (None, found):
        raise InputError(f"{path}: its sequences have {found} tokens, not {length}")
    masker = None
    if "mask_positions" not in arrays:
        if vocabulary is None:
            raise InputError(f"{path}: the records hold no masks, and drawing them needs --vocab")
        masker = Masker(vocabulary, default_predictions(found))
    return dataclasses.replace(source, length=found, masker=masker)


def _checked(source, path, split):
    shards = [shard for shard in source.shards if shard.examples]
    if not shards:
        raise InputError(f"{path}: holds no {split} examples of this length")
    missing = [shard.path for shard in shards if not shard.path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: this shard is missing; copy it or prepare the text again")
    return dataclasses.replace(source, shards=shards)

"""What is in record files of another program, described as `tfbert prepare` describes its own."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.errors import InputError
from tfbert.records.foreign.examples import KERAS_NAMES, features_of
from tfbert.records.masking import default_predictions
from tfbert.records.tfrecords import Frames, masked_crc32c, read_frames
from tfbert.text.vocabulary import Vocabulary, read_vocabulary


def record_files(directory: Path) -> list[Path]:
    """The files of a folder with "tfrecord" in their names."""
    return sorted(path for path in directory.glob("*tfrecord*") if path.is_file())


def describe_foreign(path: Path, vocabulary_path: str | Path | None) -> dict[str, Any]:
    """What `read_dataset` returns for prepared records, as far as it can be known.

    All files are read once, for their counts and checksums.

    Args:
        path: A record file, or a folder of them, all of one kind; lengths may differ by file.
        vocabulary_path: The records' vocabulary; None if it is not known.

    Returns:
        A dict with `options`, `vocabulary` and `shards` as in `dataset.json`; with `foreign`, the
        path of the vocabulary or None; and `predictions`, by length the places of masks that are
        fixed in the records.

    Raises:
        InputError: If there are no such records, or they are of several kinds.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    shards: list[dict[str, Any]] = []
    kinds: dict[int, dict[str, int]] = {}  # by length, the features and their sizes
    first: dict[int, Path] = {}  # and the file that they were seen in
    for file in [path] if path.is_file() else record_files(path):
        frames = read_frames(file, check=False)
        if not len(frames.offsets):
            if frames.rest:
                raise InputError(f"{file}: is not a record file ({frames.rest})")
            continue
        features = features_of(_first_sound(frames, file), file)
        sizes = {name: size for name, (_, size) in features.items()}
        length = next(sizes[name] for name in sizes if KERAS_NAMES[name] == "token_ids")
        for other, kind in kinds.items():
            if kind.keys() != sizes.keys() or (other == length and kind != sizes):
                raise InputError(
                    f"{path}: holds mixed records: {first[other].name} has {_words(kind)}, and "
                    f"{file.name} has {_words(sizes)}; give each kind a folder of its own"
                )
        kinds.setdefault(length, sizes)
        first.setdefault(length, file)
        digest = hashlib.sha256(frames.data.data).hexdigest()
        count = len(frames.offsets)
        shards.append(
            {
                "file": str(file),
                "split": "train",
                "length": length,
                "examples": count,
                "sha256": digest,
            }
        )
    if not shards:
        raise InputError(f"{path}: holds no train examples of this length")
    return _description(path, kinds, shards, vocabulary_path)


def _description(
    path: Path,
    kinds: dict[int, dict[str, int]],
    shards: list[dict[str, Any]],
    vocabulary_path: str | Path | None,
) -> dict[str, Any]:
    lengths = sorted(kinds)
    by_name = {
        length: {KERAS_NAMES[name]: size for name, size in sizes.items()}
        for length, sizes in kinds.items()
    }
    names = by_name[lengths[0]]
    is_masked = "mask_positions" in names
    vocabulary = read_vocabulary(vocabulary_path) if vocabulary_path else None
    if vocabulary is None and not is_masked:
        raise InputError(f"{path}: the records hold no masks, and drawing them needs --vocab")
    options = {
        "lengths": lengths,
        "masking": "fixed" if is_masked else "dynamic",
        "max_predictions": [
            by_name[length].get("mask_positions", default_predictions(length)) for length in lengths
        ],
        "sequences": "pairs" if "next_sentence_labels" in names else "sentences",
        "lowercase": vocabulary is None or _is_uncased(vocabulary),
    }
    return {
        "foreign": str(vocabulary_path) if vocabulary_path else None,
        "options": options,
        "vocabulary": {
            "size": len(vocabulary) if vocabulary else None,
            "sha256": hashlib.sha256(vocabulary.to_bytes()).hexdigest() if vocabulary else None,
        },
        "shards": shards,
    }


def _is_uncased(vocabulary: Vocabulary) -> bool:
    pieces = np.array(vocabulary.pieces, object)[~vocabulary.is_special()]
    return not any(piece != piece.lower() for piece in pieces)


def _first_sound(frames: Frames, file: Path) -> bytes:
    """The bytes of the first record whose checksum is right."""
    for offset, length in zip(frames.offsets, frames.lengths, strict=True):
        stored = frames.data[offset + length : offset + length + 4].copy().view("<u4")
        if stored == masked_crc32c(frames.data, [offset], [length]):
            return frames.data[offset : offset + length].tobytes()
    raise InputError(f"{file}: every record in it is damaged")


def _words(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} ({size})" for name, size in sorted(sizes.items()))

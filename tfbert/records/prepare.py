"""`tfbert prepare`: text in, a folder of training records out."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfbert.errors import InputError, MachineError
from tfbert.io.locks import LOCK_FILE, RunLock, is_held
from tfbert.io.paths import as_path, why_unwritable
from tfbert.io.progress import byte_bar
from tfbert.io.whole import (
    is_published_in_part,
    publish,
    read_json,
    remove,
    unfinished_folder,
    write_bytes,
    write_json,
)
from tfbert.records.description import (
    DATASET_FILE,
    FORMAT,
    VOCABULARY_FILE,
    describe,
    read_dataset,
)
from tfbert.records.record_options import PrepareConfig
from tfbert.records.shards import predictions_for
from tfbert.records.workers import write_blocks
from tfbert.text.blocks import Block, SeenDigests, make_blocks
from tfbert.text.corpus import DATASETS_PREFIX, find_sources, read_documents, text_size
from tfbert.text.vocabulary import Vocabulary, find_vocabulary, read_vocabulary

_OPTIONS_FILE = "options.json"
_RECORDS = "records"  # folder in the unfinished one, with what the dataset will be
_SHARD_NAME = re.compile(r"(train|validation)-\d+-\d{5,}\.tfrecord\.gz")
# Options that change nothing in the records.
_OUTSIDE = ("input", "output", "vocab", "workers", "overwrite", "progress")
_MUCH_PADDING = 0.5

_log = logging.getLogger(__name__)


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Writes the training records of a text.

    The folder holds `train-LENGTH-NUMBER.tfrecord.gz` and `validation-...`, `vocab.txt` and
    `dataset.json`. Until all is done, they are in `OUTPUT.unfinished`, together with what a run
    that was stopped needs to keep the shards that it finished; until then, what is in the output
    folder stays there.

    Returns the content of `dataset.json`.

    Raises:
        InputError: If the text, the vocabulary or the output folder is not fit for it.
        MachineError: If a file cannot be written or a process dies.
    """
    directory = as_path(config.output)
    work = unfinished_folder(directory)
    sources = find_sources(config.input, outside=[directory, work])
    stamp = _stamp(sources)
    config = dataclasses.replace(config, vocab=find_vocabulary(config.vocab))
    vocabulary = read_vocabulary(config.vocab)
    options = _options(config, vocabulary.to_bytes())
    with _unwritable(directory):
        finished = _look_at(directory, work, options, config, stamp)
        if finished:
            _log.info("%s is finished; --overwrite makes it anew", directory)
            if not is_held(work):
                remove(work)
            return finished
        _make(work, directory)
        try:
            with RunLock(work):
                dataset = _write(config, sources, vocabulary, options, stamp, work)
                new = {name for name, _ in _files(dataset)}
                shards = [path.name for path in directory.glob("*.tfrecord.gz")]
                old = filter(_SHARD_NAME.fullmatch, shards)
                replaced = [name for name in old if name not in new]
                publish(work / _RECORDS, directory, DATASET_FILE, replaced)
                remove(work)
        finally:
            with contextlib.suppress(OSError):
                work.rmdir()  # if nothing worth keeping is in it
    return dataset


def _make(work: Path, directory: Path) -> None:
    """Makes the folder, and finds out now, not after hours, whether the output can be written."""
    reason = why_unwritable(directory)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = reason or f"cannot be made ({error.strerror})"
    if reason:
        raise InputError(f"--output {directory}: {reason}; name another folder")


def _write(
    config: PrepareConfig,
    sources: list[str],
    vocabulary: Vocabulary,
    options: dict[str, Any],
    stamp: str | None,
    work: Path,
) -> dict[str, Any]:
    """Writes all files of the dataset into a folder of `work`, and returns its description."""
    records, begun = work / _RECORDS, work / _OPTIONS_FILE
    if config.overwrite and not (begun.exists() and read_json(begun) == options):
        _drop(work)
    records.mkdir(exist_ok=True)
    write_json(begun, options)
    write_bytes(records / VOCABULARY_FILE, vocabulary.to_bytes())
    counts, results = _write_shards(config, sources, records, work)
    dataset = describe(config, options, vocabulary, counts, results, stamp)
    try:
        _check(dataset, config)
    except InputError:
        _drop(work)  # other options may do better, and must not meet half of this
        raise
    # Shards of another text, and half-written files of a process that was killed.
    keep = {name for name, _ in _files(dataset)}
    for path in records.iterdir():
        if path.name not in keep:
            remove(path)
    write_json(records / DATASET_FILE, dataset)
    return dataset


def _drop(work: Path) -> None:
    """Removes what a stopped run left; the lock stays."""
    for path in work.iterdir():
        if path.name != LOCK_FILE:
            remove(path)


def _stamp(sources: list[str]) -> str | None:
    """Digest of the files' names, sizes and times, to notice changes; None for standard input."""
    if "-" in sources:
        return None
    found: list[tuple] = []
    for source in sources:
        if source.startswith(DATASETS_PREFIX):
            found.append((source,))
        else:
            status = as_path(source).stat()
            found.append((source, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _options(config: PrepareConfig, vocabulary_bytes: bytes) -> dict[str, Any]:
    options = dataclasses.asdict(config)
    for name in _OUTSIDE:
        del options[name]
    options["max_predictions"] = [predictions_for(config, length) for length in config.lengths]
    return {
        "format": FORMAT,
        "options": options,
        "vocabulary": {
            "file": VOCABULARY_FILE,
            "size": vocabulary_bytes.count(b"\n"),
            "sha256": hashlib.sha256(vocabulary_bytes).hexdigest(),
        },
    }


def _look_at(
    directory: Path,
    work: Path,
    options: dict[str, Any],
    config: PrepareConfig,
    stamp: str | None,
) -> dict[str, Any] | None:
    """Refuses a folder with other files; returns the description of a finished dataset."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--output {directory}: is a file; a folder is needed")
    finished, begun = directory / DATASET_FILE, work / _OPTIONS_FILE
    if finished.exists():
        dataset = read_json(finished)
        ours = isinstance(dataset, dict) and dataset.get("format") == FORMAT
    else:
        is_empty = not directory.is_dir() or not any(directory.iterdir())
        ours = is_empty or is_published_in_part(directory)
    if not ours:
        raise InputError(f"{directory}: holds other files; name an empty folder or a new one")
    if config.overwrite:
        return None
    if finished.exists():
        dataset = read_dataset(directory)
        same = all(dataset[key] == value for key, value in options.items())
        if not same or dataset["input"]["paths"] != config.input:
            raise InputError(
                f"{directory}: holds records of other input or options; --overwrite drops them"
            )
        if stamp is None:
            raise InputError(
                f"{directory}: holds records of standard input, and whether of the same text cannot"
                " be known; --overwrite makes them anew"
            )
        if dataset["input"].get("stamp") != stamp:
            raise InputError(
                f"{directory}: the input files have changed since these records were made; "
                "--overwrite makes them anew"
            )
        for name, digest in _files(dataset):
            if not _is_whole(directory / name, digest):
                _log.warning("%s: missing or damaged; all is made again", directory / name)
                return None
        return dataset
    if begun.exists() and read_json(begun) != options and any(work.glob("*-*.json")):
        raise InputError(
            f"{directory}: a run with other options was stopped here; give its options to go on "
            "with it, or --overwrite to drop it"
        )
    return None


def _files(dataset: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, SHA-256) of the files of a dataset."""
    return [(file["file"], file["sha256"]) for file in [dataset["vocabulary"], *dataset["shards"]]]


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


@contextlib.contextmanager
def _unwritable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or directory
        raise MachineError(f"{place}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise MachineError(f"{directory}: the list of documents cannot grow: {error}") from error


def _write_shards(
    config: PrepareConfig, sources: list[str], directory: Path, unfinished: Path
) -> tuple[dict[str, Any], dict[tuple[str, int], Any]]:
    """Returns the counts of the input and the results of all shards, in their order."""
    counts: dict[str, Any] = {}
    results: dict[tuple[str, int], Any] = {}
    seen = SeenDigests(unfinished / "digests.sqlite")
    documents = read_documents(sources, config.documents, config.encoding)
    bar = byte_bar(text_size(sources), "prepare", config.progress)

    def finish(block: Block, result: Any) -> None:
        results[block.split, block.number] = result
        bar.update(block.read_bytes)

    def unwritten() -> Iterator[Block]:
        for block in make_blocks(
            documents,
            seen,
            config.shard_mb,
            config.validation_fraction,
            config.keep_duplicates,
            counts,
        ):
            result = _finished_result(block, directory, unfinished)
            if result is None:
                yield block
            else:
                finish(block, result)

    workers = config.workers or len(os.sched_getaffinity(0))
    writer_arguments = (config, directory / VOCABULARY_FILE, directory, unfinished)
    written = write_blocks(unwritten(), writer_arguments, workers)
    # Closed at once after an error, so that no worker writes into the folder any more.
    with contextlib.closing(seen), bar, contextlib.closing(written):
        for block, result in written:
            # The shard's files are in their place: from here on they need not be made again.
            write_json(_record(block, unfinished), {"key": block.key, "result": result})
            finish(block, result)
        bar.total = bar.n  # line breaks and byte order marks do not count as text
    order = sorted(results, key=lambda key: (key[0] != "train", key[1]))
    return counts, {key: results[key] for key in order}


def _record(block: Block, unfinished: Path) -> Path:
    return unfinished / f"{block.split}-{block.number:05d}.json"


def _finished_result(block: Block, directory: Path, unfinished: Path) -> Any:
    """The result of a shard that an earlier run finished, if its files are whole."""
    path = _record(block, unfinished)
    if not path.exists():
        return None
    record = read_json(path)
    if record["key"] != block.key:
        return None
    files = record["result"]["files"]
    whole = all(_is_whole(directory / file["file"], file["sha256"]) for file in files)
    return record["result"] if whole else None


def _check(dataset: dict[str, Any], config: PrepareConfig) -> None:
    counts = dataset["splits"]["train"]
    if not counts["documents"] and dataset["splits"]["validation"]["tokens"]:
        raise InputError(
            f"--validation-fraction {config.validation_fraction} holds every document out and "
            "leaves none for training; take a smaller one"
        )
    if not counts["tokens"]:
        raise InputError(f"{', '.join(config.input)}: there is no text in it")
    if config.sequences != "pairs":
        return
    duplicates = dataset["input"]["duplicates"]
    if counts["documents"] == 1 and duplicates and not config.keep_duplicates:
        raise InputError(
            f"the text is one document once {duplicates} duplicates are dropped, and a random next "
            "sentence comes from another one: see --keep-duplicates, or take --sequences sentences"
        )
    if counts["documents"] == 1:
        raise InputError(
            "the text is one document, and a random next sentence comes from another one: "
            "see --documents, or take --sequences sentences"
        )
    padding = max(sequences["padding_fraction"] for sequences in counts["sequences"].values())
    if padding > _MUCH_PADDING:
        _log.warning(
            "%d %% of the sequences is padding, the documents are that short: see --documents, "
            "or take --sequences filled",
            100 * padding,
        )
    lone = sum(shard["without_partner"] for shard in dataset["shards"])
    if lone:
        _log.warning(
            "%d pairs are all of consecutive text: their shards hold one document each; "
            "a larger --shard-mb brings documents together",
            lone,
        )

"""`tfbert prepare`: text in, a folder of training records out."""

import contextlib
import dataclasses
import fcntl
import hashlib
import logging
import os
import shutil
import sqlite3
from pathlib import Path

from tfbert.data.blocks import SeenDigests, make_blocks
from tfbert.data.corpus import find_sources, read_documents
from tfbert.data.dataset import DATASET_FILE, FORMAT, UNFINISHED, VOCABULARY_FILE, describe
from tfbert.data.progress import text_bar
from tfbert.data.shards import predictions_for
from tfbert.data.wordpieces import read_vocabulary
from tfbert.data.workers import write_blocks
from tfbert.errors import InputError, MachineError
from tfbert.files import read_json, write_bytes, write_json

_OPTIONS_FILE = "options.json"
# Options that do not show in the records.
_OUTSIDE = ("input", "output", "vocab", "workers", "overwrite", "progress")
_MUCH_PADDING = 0.5

_log = logging.getLogger(__name__)


def prepare(config):
    """Writes the training records of a text.

    The folder holds `train-LENGTH-NUMBER.tfrecord.gz` and `validation-...`, `vocab.txt` and, once
    all is done, `dataset.json`. A run that was stopped goes on with the shards that are finished.

    Args:
        config: `PrepareConfig`.

    Returns:
        What `dataset.json` holds, as a dictionary.

    Raises:
        InputError: If the text, the vocabulary or the output folder is not fit for it.
        MachineError: If a file cannot be written or a process dies.
    """
    sources = find_sources(config.input)
    vocabulary = read_vocabulary(config.vocab)
    vocabulary_bytes = "".join(piece + "\n" for piece in vocabulary.pieces).encode()
    options = _options(config, vocabulary_bytes)
    directory = Path(config.output)
    with _unwritable(directory):
        finished = _take_over(directory, options, config.input, config.overwrite)
        if finished:
            _log.info("%s is finished; --overwrite makes it anew", directory)
            return finished
        unfinished = directory / UNFINISHED
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--output {directory}: cannot be made ({error.strerror}); name another folder"
            ) from error
        with _locked(unfinished):
            write_json(unfinished / _OPTIONS_FILE, options)
            write_bytes(directory / VOCABULARY_FILE, vocabulary_bytes)
            counts, results = _write_shards(config, sources, directory, unfinished)
            dataset = describe(config, options, vocabulary, counts, results)
            try:
                _check(dataset, config)
            except InputError:
                # Other options may do better, and must not meet half of this.
                _remove_records(directory)
                for record in unfinished.glob("*.json"):
                    record.unlink()
                raise
            _remove_records(directory, keep={shard["file"] for shard in dataset["shards"]})
            write_json(directory / DATASET_FILE, dataset)
        shutil.rmtree(unfinished)
    return dataset


def _options(config, vocabulary_bytes):
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


def _take_over(directory, options, paths, overwrite):
    """Makes room in the folder; returns the description of a dataset that is finished already."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--output {directory}: is a file; a folder is needed")
    if not directory.exists() or not any(directory.iterdir()):
        return None
    finished, begun = directory / DATASET_FILE, directory / UNFINISHED / _OPTIONS_FILE
    ours = finished.exists() or (directory / UNFINISHED).is_dir()
    if not ours:
        raise InputError(f"{directory}: holds other files; name an empty folder or a new one")
    if overwrite:
        # With this mark the folder is known as ours, should the removal be interrupted.
        (directory / UNFINISHED).mkdir(exist_ok=True)
        finished.unlink(missing_ok=True)
        _remove_records(directory)
        shutil.rmtree(directory / UNFINISHED)
        return None
    if finished.exists():
        dataset = read_json(finished)
        same = all(dataset.get(key) == value for key, value in options.items())
        if not same or dataset["input"]["paths"] != paths:
            raise InputError(
                f"{directory}: holds records of other input or options; --overwrite drops them"
            )
        shutil.rmtree(directory / UNFINISHED, ignore_errors=True)
        return dataset
    has_shards = any((directory / UNFINISHED).glob("*-*.json"))
    if has_shards and begun.exists() and read_json(begun) != options:
        raise InputError(
            f"{directory}: a run with other options was stopped here; give its options to go on "
            "with it, or --overwrite to drop it"
        )
    return None


@contextlib.contextmanager
def _locked(unfinished):
    with open(unfinished / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{unfinished.parent}: another tfbert writes here now") from error
        yield


@contextlib.contextmanager
def _unwritable(directory):
    try:
        yield
    except OSError as error:
        place = error.filename or directory
        raise MachineError(f"{place}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise MachineError(f"{directory}: the list of documents cannot grow: {error}") from error


def _write_shards(config, sources, directory, unfinished):
    """Returns the counts of the input and the results of all shards, in their order."""
    counts, results = {}, {}
    seen = SeenDigests(unfinished / "digests.sqlite")
    documents = read_documents(sources, config.documents, config.encoding)
    bar = text_bar(sources, "prepare", config.progress)

    def finish(block, result):
        results[block.split, block.number] = result
        bar.update(block.read_bytes)

    def unwritten():
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
    with contextlib.closing(seen), bar:
        for block, result in write_blocks(unwritten(), writer_arguments, workers):
            # The shard's files stand in their place: from here on they need not be made again.
            write_json(_record(block, unfinished), {"key": block.key, "result": result})
            finish(block, result)
        bar.total = bar.n  # line breaks and byte order marks are no text
    order = sorted(results, key=lambda key: (key[0] != "train", key[1]))
    return counts, {key: results[key] for key in order}


def _record(block, unfinished):
    return unfinished / f"{block.split}-{block.number:05d}.json"


def _finished_result(block, directory, unfinished):
    """The result of a shard that an earlier run finished, if its files are whole."""
    path = _record(block, unfinished)
    if not path.exists():
        return None
    record = read_json(path)
    if record["key"] != block.key:
        return None
    for file in record["result"]["files"]:
        shard = directory / file["file"]
        if not shard.exists() or hashlib.sha256(shard.read_bytes()).hexdigest() != file["sha256"]:
            return None
    return record["result"]


def _check(dataset, config):
    counts = dataset["splits"]["train"]
    if not counts["tokens"]:
        raise InputError(f"{', '.join(config.input)}: there is no text in it")
    if config.sequences != "pairs":
        return
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


def _remove_records(directory, keep=()):
    """Drops the shards of an earlier run, and half-written files of one that was killed."""
    for pattern in ("*.tfrecord.gz", f".{VOCABULARY_FILE}.*", f".{DATASET_FILE}.*"):
        for path in directory.glob(pattern):
            if path.name not in keep:
                path.unlink()

"""`tfbert prepare`: text in, a folder of training records out."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import sqlite3
from pathlib import Path

from tfbert.errors import InputError, MachineError
from tfbert.io.paths import as_path, is_remote
from tfbert.io.progress import byte_bar
from tfbert.io.whole import read_json, write_bytes, write_json
from tfbert.records.description import (
    DATASET_FILE,
    FORMAT,
    UNFINISHED,
    VOCABULARY_FILE,
    describe,
    read_dataset,
)
from tfbert.records.shards import predictions_for
from tfbert.records.workers import write_blocks
from tfbert.text.blocks import SeenDigests, make_blocks
from tfbert.text.corpus import DATASETS_PREFIX, find_sources, read_documents, text_size
from tfbert.text.wordpieces import read_vocabulary

_OPTIONS_FILE = "options.json"
_REPLACED = "replaced"  # folder in `unfinished` with the dataset that --overwrite replaces
_SHARD_NAME = re.compile(r"(train|validation)-\d+-\d{5,}\.tfrecord\.gz")
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
    sources = find_sources(config.input, outside=config.output)
    stamp = _stamp(sources)
    vocabulary = read_vocabulary(config.vocab)
    vocabulary_bytes = vocabulary.to_bytes()
    options = _options(config, vocabulary_bytes)
    directory = as_path(config.output)
    if is_remote(directory):
        with _unwritable(directory):
            return _prepare_remote(config, directory, options, stamp)
    with _unwritable(directory):
        finished = _look_at(directory, options, config, stamp)
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
            if config.overwrite or (directory / DATASET_FILE).exists():
                _put_aside(directory)
            try:
                write_json(unfinished / _OPTIONS_FILE, options)
                write_bytes(directory / VOCABULARY_FILE, vocabulary_bytes)
                counts, results = _write_shards(config, sources, directory, unfinished)
                dataset = describe(config, options, vocabulary, counts, results, stamp)
                try:
                    _check(dataset, config)
                except InputError:
                    # Other options may do better, and must not meet half of this.
                    _remove_run(directory)
                    raise
                _remove_records(directory, keep={shard["file"] for shard in dataset["shards"]})
                write_json(directory / DATASET_FILE, dataset)
            except BaseException:
                if (unfinished / _REPLACED).exists():
                    _bring_back(directory)
                    shutil.rmtree(unfinished)
                raise
        shutil.rmtree(unfinished)
    return dataset


def _prepare_remote(config, directory, options, stamp):
    """Writes the records to a local folder, and copies them once they are finished."""
    # Half a copy is what an earlier process left.
    names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    half = all(_SHARD_NAME.fullmatch(name) or name == VOCABULARY_FILE for name in names)
    finished = None if half else _look_at(directory, options, config, stamp)
    if finished:
        return finished
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = hashlib.sha256(str(directory).encode()).hexdigest()[:16]
    local = cache / "tfbert" / "prepare" / place  # the same one again after a stop
    dataset = prepare(dataclasses.replace(config, output=str(local)))
    # While this file is missing, the others are no dataset.
    (directory / DATASET_FILE).unlink(missing_ok=True)
    keep = {name for name, _ in _files(dataset)}
    for name in sorted(keep | names):
        if name in keep:
            (directory / name).copy_from(local / name)
        elif _SHARD_NAME.fullmatch(name):
            (directory / name).unlink()
    (directory / DATASET_FILE).copy_from(local / DATASET_FILE)
    shutil.rmtree(local)
    return dataset


def _stamp(sources):
    """Digest of the files' names, sizes and times, to know changed text by; None if unknowable."""
    if "-" in sources:
        return None
    found = []
    for source in sources:
        if source.startswith(DATASETS_PREFIX):
            found.append([source])
        else:
            status = as_path(source).stat()
            found.append([source, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


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


def _look_at(directory, options, config, stamp):
    """Refuses a folder of others; returns the description of a dataset that is finished already."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"--output {directory}: is a file; a folder is needed")
    if not directory.exists() or not any(directory.iterdir()):
        return None
    finished, begun = directory / DATASET_FILE, directory / UNFINISHED / _OPTIONS_FILE
    if finished.exists():
        dataset = read_json(finished)
        ours = isinstance(dataset, dict) and dataset.get("format") == FORMAT
    else:
        ours = _is_run(directory / UNFINISHED)
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
        broken = [file for file in _files(dataset) if not _is_whole(directory, *file)]
        if broken:
            _log.warning("%s: missing or damaged; all is made again", directory / broken[0][0])
            return None
        shutil.rmtree(directory / UNFINISHED, ignore_errors=True)
        return dataset
    has_shards = any((directory / UNFINISHED).glob("*-*.json"))
    if has_shards and begun.exists() and read_json(begun) != options:
        raise InputError(
            f"{directory}: a run with other options was stopped here; give its options to go on "
            "with it, or --overwrite to drop it"
        )
    return None


def _is_run(unfinished):
    """Whether a folder is what a stopped run left behind."""
    if not unfinished.is_dir():
        return False
    names = {path.name for path in unfinished.iterdir()}
    return not names or bool(names & {_OPTIONS_FILE, "lock"})


def _files(dataset):
    """(name, SHA-256) of the files of a dataset."""
    return [(file["file"], file["sha256"]) for file in [dataset["vocabulary"], *dataset["shards"]]]


def _is_whole(directory, name, digest):
    path = directory / name
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _put_aside(directory):
    """Keeps a finished dataset until the new one stands; drops what a stopped run left."""
    aside = directory / UNFINISHED / _REPLACED
    if (directory / DATASET_FILE).exists() and (aside / DATASET_FILE).exists():
        shutil.rmtree(aside)  # the new one stands
    if aside.exists():
        _bring_back(directory)
    finished = (directory / DATASET_FILE).exists()
    if finished:
        aside.mkdir()
        # The description goes last: where it is, there are all the others.
        for path in [*_records(directory), directory / VOCABULARY_FILE, directory / DATASET_FILE]:
            if path.exists():
                path.rename(aside / path.name)
    _remove_run(directory)


def _bring_back(directory):
    """Undoes `_put_aside`, also one that was killed half-way."""
    aside = directory / UNFINISHED / _REPLACED
    if (aside / DATASET_FILE).exists():
        _remove_run(directory)
        (aside / DATASET_FILE).rename(directory / DATASET_FILE)
    for path in aside.iterdir():
        path.rename(directory / path.name)
    aside.rmdir()


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
    bar = byte_bar(text_size(sources), "prepare", config.progress)

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
    written = write_blocks(unwritten(), writer_arguments, workers)
    # Closed at once after an error, so that no worker writes into a folder that is left.
    with contextlib.closing(seen), bar, contextlib.closing(written):
        for block, result in written:
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
    files = record["result"]["files"]
    whole = all(_is_whole(directory, file["file"], file["sha256"]) for file in files)
    return record["result"] if whole else None


def _check(dataset, config):
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


def _records(directory):
    return [path for path in directory.iterdir() if _SHARD_NAME.fullmatch(path.name)]


def _remove_records(directory, keep=()):
    """Drops the shards of an earlier run, and half-written files of one that was killed."""
    half_written = [
        path
        for name in (VOCABULARY_FILE, DATASET_FILE)
        for path in directory.glob(f".writing-*-{name}")
    ]
    for path in _records(directory) + half_written:
        if path.name not in keep:
            path.unlink()


def _remove_run(directory):
    """Drops all shards and the marks that they are finished."""
    _remove_records(directory)
    for record in (directory / UNFINISHED).glob("*.json"):
        record.unlink()

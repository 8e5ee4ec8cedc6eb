"""`dataset.json`: what a folder of training records holds and how it was made."""

from __future__ import annotations

from typing import Any

from tfbert._version import __version__
from tfbert.errors import InputError
from tfbert.io.paths import AnyPath, as_path
from tfbert.io.whole import is_published_in_part, read_json, unfinished_folder
from tfbert.records.record_options import PrepareConfig
from tfbert.records.shards import record_features
from tfbert.text.vocabulary import Vocabulary

FORMAT = "tfbert pre-training records 1"
DATASET_FILE = "dataset.json"
VOCABULARY_FILE = "vocab.txt"
SPLITS = ("train", "validation")
_KEYS = {
    "options": dict,
    "vocabulary": dict,
    "input": dict,
    "splits": dict,
    "features": dict,
    "shards": list,
}
_SHARD_KEYS = {"file", "split", "length", "examples", "bytes", "sha256"}


def describe(
    config: PrepareConfig,
    options: dict[str, Any],
    vocabulary: Vocabulary,
    counts: dict[str, Any],
    results: dict[tuple[str, int], Any],
    stamp: str | None,
) -> dict[str, Any]:
    """The content of `dataset.json`: the same files and options yield the same bytes.

    Args:
        options: Those of `config` that change the records, as in `dataset.json`.
        counts: From `make_blocks`.
        results: By (split, number) the result of `ShardWriter.write`, in order.
        stamp: Digest of the input files' names, sizes and times, or None.
    """
    shards = [file for result in results.values() for file in result["files"]]
    splits = {}
    for split in SPLITS:
        ours = [result for (name, _), result in results.items() if name == split]
        splits[split] = {
            "documents": counts[split],
            "sentences": sum(result["sentences"] for result in ours),
            "tokens": sum(result["tokens"] for result in ours),
            "sequences": {
                str(length): _sum_up(
                    [file for file in shards if (file["split"], file["length"]) == (split, length)],
                    length,
                )
                for length in config.lengths
            },
        }
    return {
        **options,
        "tfbert": __version__,
        "input": {
            "paths": config.input,
            "stamp": stamp,
            **{name: counts[name] for name in ("bytes", "documents", "duplicates")},
        },
        "splits": splits,
        "features": {
            str(length): record_features(config, vocabulary.dtype, length)
            for length in config.lengths
        },
        "shards": shards,
    }


def _sum_up(files: list[dict[str, Any]], length: int) -> dict[str, Any]:
    examples, tokens, cut_tokens, random_next, predictions = (
        sum(file[name] for file in files)
        for name in ("examples", "tokens", "cut_tokens", "random_next", "predictions")
    )
    return {
        "examples": examples,
        "tokens": tokens,
        "padding_fraction": round(1 - tokens / (examples * length), 6) if examples else 0.0,
        "cut_tokens": cut_tokens,
        "random_next": random_next,
        "predictions": predictions,
    }


def is_unfinished(directory: AnyPath) -> bool:
    """Whether `prepare` was stopped on the way to this folder."""
    return is_published_in_part(directory) or unfinished_folder(directory).is_dir()


def read_dataset(directory: AnyPath) -> dict[str, Any]:
    """Reads and checks `dataset.json`.

    Raises:
        InputError: If the folder holds no finished records of this package.
    """
    directory = as_path(directory)
    path = directory / DATASET_FILE
    if not path.is_file():
        if is_unfinished(directory):
            raise InputError(f"{directory}: `tfbert prepare` is not finished here; start it again")
        raise InputError(f"{directory}: no {DATASET_FILE}; `tfbert prepare` makes such folders")
    dataset = read_json(path)
    if not isinstance(dataset, dict):
        raise InputError(f"{path}: is not a description of records; prepare the text again")
    if dataset.get("format") != FORMAT:
        raise InputError(f"{path}: format {dataset.get('format')!r} is not {FORMAT!r}")
    for key, kind in _KEYS.items():
        if not isinstance(dataset.get(key), kind):
            raise InputError(f"{path}: damaged, {key!r} is missing; prepare the text again")
    for length in dataset["options"].get("lengths", [None]):
        if str(length) not in dataset["features"]:
            raise InputError(
                f"{path}: damaged, the features of length {length} are missing; prepare the text "
                "again"
            )
    for shard in dataset["shards"]:
        if not isinstance(shard, dict) or not _SHARD_KEYS.issubset(shard):
            raise InputError(f"{path}: damaged, a shard is half described; prepare the text again")
    return dataset


def summary_lines(dataset: dict[str, Any]) -> list[str]:
    """What a dataset holds, as lines of text to read."""
    source, options = dataset["input"], dataset["options"]
    lines = [
        f"input        {source['bytes'] / 1e6:,.1f} MB, {source['documents']:,} documents, "
        f"{source['duplicates']:,} of them duplicates"
        + ("" if options["keep_duplicates"] else " (dropped)"),
        f"vocabulary   {dataset['vocabulary']['size']:,} word pieces",
        f"sequences    {options['sequences']}, {options['masking']} masks",
    ]
    for split, counts in dataset["splits"].items():
        if not counts["documents"]:
            continue
        lines.append(
            f"{split:<12} {counts['documents']:,} documents, {counts['sentences']:,} sentences, "
            f"{counts['tokens']:,} tokens"
        )
        for length, sequences in counts["sequences"].items():
            line = (
                f"  length {length:<4}{sequences['examples']:,} examples, "
                f"{sequences['padding_fraction']:.1%} padding"
            )
            if options["sequences"] == "pairs" and sequences["examples"]:
                share = sequences["random_next"] / sequences["examples"]
                line += (
                    f", {share:.1%} random next sentences, "
                    f"{sequences['cut_tokens']:,} tokens cut from long pairs"
                )
            lines.append(line)
    size = sum(shard["bytes"] for shard in dataset["shards"])
    lines.append(f"files        {len(dataset['shards']):,} shards, {size / 1e6:,.1f} MB")
    return lines

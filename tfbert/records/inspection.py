"""`tfbert inspect`: statistics of training records, and examples with their masks marked."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from tfbert.io.paths import as_path
from tfbert.records.description import DATASET_FILE, read_dataset, summary_lines
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_options import InspectConfig
from tfbert.records.record_source import RecordSource, open_records
from tfbert.text.vocabulary import Vocabulary

_RED, _GREEN, _YELLOW, _CYAN, _DIM, _PLAIN = (f"\033[{code}m" for code in (31, 32, 33, 36, 2, 0))
_Paint: TypeAlias = Callable[[str, str], str]  # (colour's code, text) -> text
_LEGEND = (
    (_RED, "[MASK→word] masked"),
    (_YELLOW, "[other→word] replaced"),
    (_GREEN, "[word→word] left as it is"),
    (_CYAN, "second segment"),
)


def inspect_lines(config: InspectConfig) -> Iterator[str]:
    """What a folder of records holds.

    Yields:
        Lines of text; with `config.json` one line, a JSON object.

    Raises:
        InputError: If there are no such records.
    """
    prepared = (as_path(config.records) / DATASET_FILE).exists()
    if prepared and config.json:
        yield json.dumps(read_dataset(config.records), ensure_ascii=False)
        return
    if prepared and not config.examples:
        yield from summary_lines(read_dataset(config.records))
        return
    source = open_records(config.records, config.length, config.split, config.vocab)
    if prepared:
        yield from summary_lines(read_dataset(config.records))
    else:
        dataset = {
            "files": len(source.shards),
            "examples": source.examples,
            "length": source.length,
        }
        if config.json:
            yield json.dumps(dataset)
            return
        yield from (f"{name:<12} {value:,}" for name, value in dataset.items())
    if config.examples:
        yield from _some_examples(source, config)


def _some_examples(source: RecordSource, config: InspectConfig) -> Iterator[str]:
    paint = _painter(config.color)
    count = min(config.examples, source.examples)
    # One shard is enough to show some examples.
    batch = PretrainingRecords(source, count, seed=config.seed, window=1).batch(0)
    yield ""
    yield "  ".join(paint(color, text) for color, text in _LEGEND)
    for row in range(count):
        yield ""
        example = {name: values[row] for name, values in batch.items()}
        yield from _example_lines(example, source, paint)


def _painter(color: str) -> _Paint:
    on_terminal = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if color == "always" or (color == "auto" and on_terminal):
        return lambda code, text: f"{code}{text}{_PLAIN}"
    return lambda code, text: text


def _example_lines(
    example: dict[str, np.ndarray], source: RecordSource, paint: _Paint
) -> Iterator[str]:
    """A heading and the tokens of one example."""
    tokens = int(example["padding_mask"].sum())
    answers = {}
    if "mask_positions" in example:
        places = zip(
            example["mask_positions"], example["mask_ids"], example["mask_weights"], strict=True
        )
        answers = {int(position): int(answer) for position, answer, weight in places if weight}
    heading = f"{tokens} of {source.length} tokens, {len(answers)} predictions"
    if "next_sentence_labels" in example:
        label = example["next_sentence_labels"]
        heading += ", random next sentence" if label else ", actual next sentence"
    yield paint(_DIM, heading)
    yield " ".join(
        _token(example, place, answers.get(place), source.vocabulary, paint)
        for place in range(tokens)
    )


def _token(
    example: dict[str, np.ndarray],
    place: int,
    answer: int | None,
    vocabulary: Vocabulary | None,
    paint: _Paint,
) -> str:
    def spell(number: int) -> str:
        return vocabulary.pieces[number] if vocabulary else str(number)

    token = int(example["token_ids"][place])
    if answer is not None:
        color = _GREEN if token == answer else _YELLOW
        if vocabulary and token == vocabulary.mask:
            color = _RED
        return paint(color, f"[{spell(token).strip('[]')}→{spell(answer)}]")
    return paint(_CYAN, spell(token)) if example["segment_ids"][place] else spell(token)

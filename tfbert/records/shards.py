"""The text of one shard to files of training records, one file for each sequence length."""

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.randomness import make_key, permutation
from tfbert.records.masking import Masker, default_predictions, example_keys
from tfbert.records.record_options import PrepareConfig
from tfbert.records.sequences import (
    TokenizedShard,
    assemble,
    make_packed,
    make_pairs,
    tokenize_shard,
)
from tfbert.records.tfrecords import Layout, compress
from tfbert.text.blocks import Block
from tfbert.text.sentences import split_sentences
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import read_vocabulary


class ShardWriter:
    """Writes shards, in any process: what it writes depends on the options and the block only.

    Args:
        vocabulary: Path of the vocabulary.
        directory: Folder of the finished files.
        scratch: Folder of the unfinished ones, on the same disk.
    """

    def __init__(
        self,
        options: PrepareConfig,
        vocabulary: str | Path,
        directory: str | Path,
        scratch: str | Path,
    ) -> None:
        self._options = options
        self._vocabulary = read_vocabulary(vocabulary)
        self._tokenizer = BertTokenizer(self._vocabulary, options.lowercase)
        self._split = split_sentences if options.sentences == "split" else split_lines
        self._directory = Path(directory)
        self._scratch = Path(scratch)

    def write(self, block: Block) -> dict[str, Any]:
        """Writes the files of a block, and returns `sentences`, `tokens`, and `files` by length."""
        shard = tokenize_shard(
            block.parts, self._tokenizer, self._split, min(self._options.lengths) - 3
        )
        files = [self._write_length(block, shard, length) for length in self._options.lengths]
        return {"sentences": len(shard.bounds) - 1, "tokens": len(shard.tokens), "files": files}

    def _write_length(self, block: Block, shard: TokenizedShard, length: int) -> dict[str, Any]:
        options = self._options
        lone_pairs = options.sequences == "pairs" and shard.is_one_document()
        copies = [
            self._make_copy(block, shard, length, copy) for copy in range(options.dupe_factor)
        ]
        arrays = {name: np.concatenate([copy[name] for copy, _ in copies]) for name in copies[0][0]}
        count = len(arrays["token_ids"])
        order = permutation(make_key("order", options.seed, *block[:2], length), count)
        arrays = {name: values[order] for name, values in arrays.items()}
        name = f"{block.split}-{length}-{block.number:05d}.tfrecord.gz"
        layout = Layout(record_features(options, self._vocabulary.dtype, length))
        packed = compress(layout.encode(arrays) if count else b"")
        temporary = self._scratch / f"{name}.{os.getpid()}"
        temporary.write_bytes(packed)
        temporary.replace(self._directory / name)
        return {
            "file": name,
            "split": block.split,
            "length": length,
            "examples": count,
            "tokens": int(arrays["padding_mask"].sum()),
            "cut_tokens": sum(cut for _, cut in copies),
            "random_next": int(arrays.get("next_sentence_labels", np.zeros(0)).sum()),
            "without_partner": count if lone_pairs else 0,
            "predictions": int(arrays.get("mask_weights", np.zeros(0)).sum()),
            "bytes": len(packed),
            "sha256": hashlib.sha256(packed).hexdigest(),
        }

    def _make_copy(
        self, block: Block, shard: TokenizedShard, length: int, copy: int
    ) -> tuple[dict[str, np.ndarray], int]:
        """One pass over the text: (arrays, tokens cut off)."""
        options, vocabulary = self._options, self._vocabulary
        purpose = (options.seed, *block[:2], length, copy)
        generator = random.Random(repr(purpose))
        if options.sequences == "pairs":
            spans = make_pairs(shard, length, options.short_probability, generator)
        else:
            whole = options.sequences == "sentences"
            spans = make_packed(
                shard, length, options.short_probability, generator, vocabulary, whole
            )
        arrays = assemble(spans, length, vocabulary)
        if options.masking == "fixed":
            mask = Masker(
                vocabulary,
                predictions_for(options, length),
                options.mask_fraction,
                options.whole_word,
                options.ngram,
            )
            keys = example_keys(repr(purpose), 0, np.arange(len(spans.a)))
            arrays |= mask(arrays["token_ids"], keys)
        return arrays, spans.cut_tokens


def predictions_for(options: PrepareConfig, length: int) -> int:
    """Most predictions in a sequence of that length."""
    if not options.max_predictions:
        return default_predictions(length, options.mask_fraction)
    return options.max_predictions[options.lengths.index(length)]


def record_features(options: PrepareConfig, ids: np.dtype, length: int) -> dict[str, list[Any]]:
    """The features of a record: by name [NumPy type, shape], as `Layout` takes them.

    Args:
        ids: Type of token ids.
        length: Tokens a sequence.
    """
    features: dict[str, list[Any]] = {
        "token_ids": [ids.name, [length]],
        "segment_ids": ["uint8", [length]],
        "padding_mask": ["uint8", [length]],
    }
    if options.sequences == "pairs":
        features["next_sentence_labels"] = ["uint8", []]
    if options.masking == "fixed":
        places = [predictions_for(options, length)]
        features["mask_positions"] = ["uint16", places]
        features["mask_ids"] = [ids.name, places]
        features["mask_weights"] = ["uint8", places]
    return features


def split_lines(text: str) -> list[str]:
    """The sentences of a text that has one a line."""
    return [line for line in map(str.strip, text.split("\n")) if line]

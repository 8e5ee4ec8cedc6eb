"""Texts as rows of tokens, for problems with one answer a text, and how long texts are read.

A text that is longer than the model's input is cut, or read by its head and tail, or in windows.

References:
    Sun et al., "How to fine-tune BERT for text classification?", 2019, section 5.3.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.tokens.encoded import EncodedExamples, RowTargets
from tfbert.tasks.tokens.token_cache import tokenize_once
from tfbert.tasks.tokens.tokenization import TokenizedTexts
from tfbert.text.tokenizer import BertTokenizer

HEAD_TOKENS = 128  # of a long text's begin, by Sun et al.; the rest of the room is for its end
_WITHOUT_LIMIT = 1 << 40  # tokens


def encode_texts(
    tokenizer: BertTokenizer,
    examples: Examples,
    max_length: int,
    cache: str = "none",
    long_texts: str = "cut",
    doc_stride: int = 128,
) -> EncodedExamples:
    """A row of tokens for each example, or several of a text that is read in windows.

    Args:
        max_length: Most tokens of a row, special ones included.
        cache: As in `token_cache.tokenize_once`.
        long_texts, doc_stride: As in `ProblemOptions`.

    Raises:
        InputError: If pairs are to be read in another way than cut.
    """
    check_long_texts(long_texts, examples)
    limit = max_length if long_texts == "cut" else _WITHOUT_LIMIT
    texts = tokenize_once(tokenizer, examples.texts, limit, cache, examples.pairs)
    example_of = None
    count = texts.truncated_texts or int((texts.lengths > max_length).sum())
    if not count:
        return EncodedExamples(texts)
    how = "and were cut"
    if long_texts == "head-tail":
        texts = head_and_tail(texts, max_length)
        head = _head(max_length)
        how += f" to their first {head} and last {max_length - 2 - head}"
    elif long_texts == "windows":
        texts, example_of = in_windows(texts, max_length, doc_stride)
        how = f"and are read in parts: {len(texts)} rows in all"
    dropped = texts.dropped_tokens
    return EncodedExamples(
        texts,
        example_of=example_of,
        cut=f"{count} of {len(examples.texts)} texts are longer than {max_length} tokens {how}, "
        f"{dropped} tokens ({100 * dropped / (dropped + len(texts.values)):.1f} %) dropped",
    )


def check_long_texts(long_texts: str, examples: Examples) -> None:
    """Raises InputError for pairs that are to be read in another way than cut."""
    if examples.pairs is not None and long_texts != "cut":
        raise InputError(
            f"--long-texts {long_texts}: only single texts can be read so; of pairs, the longer "
            "text is cut first"
        )


def head_and_tail(texts: TokenizedTexts, max_length: int) -> TokenizedTexts:
    """Each text, or of a longer one its first and last tokens."""
    head = _head(max_length)
    tail = max_length - 1 - head  # with [SEP]
    rows = [
        row if len(row) <= max_length else np.concatenate([row[: 1 + head], row[len(row) - tail :]])
        for row in map(texts.__getitem__, range(len(texts)))
    ]
    longer = texts.lengths[texts.lengths > max_length]
    return _texts(rows, texts, len(longer), int((longer - max_length).sum()))


def in_windows(
    texts: TokenizedTexts, max_length: int, doc_stride: int
) -> tuple[TokenizedTexts, np.ndarray]:
    """The parts of each text, with [CLS] and [SEP].

    Args:
        doc_stride: Tokens from the start of a part to that of the next.

    Returns:
        The parts, and (parts,) int64 the text that each is of.
    """
    rows, text_of = [], []
    for number in range(len(texts)):
        row = texts[number]
        for first, size in parts(len(row) - 2, max_length - 2, doc_stride):
            part = row[first : first + size + 2].copy()
            part[0], part[-1] = row[0], row[-1]
            rows.append(part)
            text_of.append(number)
    return _texts(rows, texts, 0, 0), np.array(text_of, np.int64)


def parts(tokens: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """(first token, how many) of the parts of a text, each of `room` tokens but for the last.

    Args:
        stride: Tokens from the start of a part to that of the next; `room` at most.
    """
    first = 0
    while True:
        yield first, min(room, tokens - first)
        if first + room >= tokens:
            return
        first += min(stride, room)


def with_targets(
    encoded: EncodedExamples, values: np.ndarray, weights: np.ndarray | None = None
) -> EncodedExamples:
    """Every row has the target of its example.

    Args:
        values: (examples, ...).
        weights: (examples,) float32; None: 1 each.
    """
    if weights is None:
        weights = np.ones(len(values), np.float32)
    if encoded.example_of is not None:
        values, weights = values[encoded.example_of], weights[encoded.example_of]
    return dataclasses.replace(encoded, targets=RowTargets(values, weights))


def mean_by_example(outputs: Any, encoded: EncodedExamples) -> np.ndarray:
    """(examples, outputs): of an example of several rows the mean of their logits, in float64."""
    if encoded.example_of is None:
        return outputs
    counts = np.bincount(encoded.example_of)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(np.asarray(outputs, np.float64), begins)
    return sums / counts[:, None]


def _head(max_length: int) -> int:
    """Tokens of the start; where there is little room, half of it."""
    return min(HEAD_TOKENS, (max_length - 2) // 2)


def _texts(
    rows: Sequence[np.ndarray], texts: TokenizedTexts, truncated: int, dropped: int
) -> TokenizedTexts:
    lengths = np.array([len(row) for row in rows], np.int64)
    return TokenizedTexts(
        np.concatenate([np.zeros(0, np.int32), *rows]),
        np.concatenate([[0], np.cumsum(lengths)]),
        lengths,  # there are no second texts
        texts.pad_token_id,
        truncated_texts=truncated,
        dropped_tokens=dropped,
    )

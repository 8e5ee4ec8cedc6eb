"""Words as rows of tokens: which token stands for which word, and texts divided into words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfbert.tasks.tokens.tokenization import TokenizedTexts
from tfbert.text.offsets import locate_tokens
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import CONTINUATION


class Place(NamedTuple):
    """Where a word stands in its text: its first character, and the one after its last."""

    start: int
    end: int


class WordRows(NamedTuple):
    """Sentences as rows of tokens.

    Args:
        texts: The rows. A sentence that is too long for one is divided among several.
        example_of: (rows,) int64, the sentence of each row.
        first_tokens: (words,) int64, of all words of all sentences in a row: the position in
            `texts.values` of a word's first piece. -1 where a word has no piece, as one of control
            characters has.
        divided: How many sentences were divided.
    """

    texts: TokenizedTexts
    example_of: np.ndarray
    first_tokens: np.ndarray
    divided: int


def split_into_words(tokenizer: BertTokenizer, texts: Sequence[str]) -> Iterator[list[Place]]:
    """The words of each text, as BERT divides it: at white space, and around punctuation."""
    pieces = tokenizer.vocabulary.pieces
    for located in locate_tokens(tokenizer, texts):
        places: list[Place] = []
        columns = (column.tolist() for column in located)
        for token, start, end in zip(*columns, strict=True):
            if places and pieces[token].startswith(CONTINUATION):
                places[-1] = Place(places[-1].start, end)
            else:
                places.append(Place(start, end))
        yield places


def encode_words(
    tokenizer: BertTokenizer, sentences: Sequence[Sequence[str]], max_length: int
) -> WordRows:
    """The pieces of sentences that are divided into words already.

    A sentence of more pieces than a row holds is divided between words into rows of about the
    same length. A single word of more pieces loses its end.

    Args:
        max_length: Most tokens of a row, with [CLS] and [SEP].
    """
    room = max_length - 2
    ids, starts = tokenizer.encode_in_a_row([word for words in sentences for word in words])
    all_counts = np.diff(starts)
    counts = np.minimum(all_counts, room)
    # Of each piece its number in its word.
    numbers = np.arange(len(ids)) - np.repeat(starts[:-1], all_counts)
    ids = ids[numbers < room]
    borders, example_of = _divide([len(words) for words in sentences], counts, room)
    pieces_before = np.concatenate([[0], np.cumsum(counts)])
    row_pieces = np.diff(pieces_before[borders])
    row_starts = np.concatenate([[0], np.cumsum(row_pieces + 2)])
    values = np.empty(row_starts[-1], np.int32)
    values[row_starts[:-1]] = tokenizer.cls_token_id
    values[row_starts[1:] - 1] = tokenizer.sep_token_id
    rows = np.arange(len(row_pieces))
    values[np.arange(len(ids)) + 2 * np.repeat(rows, row_pieces) + 1] = ids
    first_tokens = pieces_before[:-1] + 2 * np.repeat(rows, np.diff(borders)) + 1
    texts = TokenizedTexts(
        values,
        row_starts,
        np.diff(row_starts),
        tokenizer.pad_token_id,
        truncated_texts=int((all_counts > room).sum()),
        dropped_tokens=int((all_counts - counts).sum()),
    )
    return WordRows(
        texts,
        example_of,
        np.where(counts > 0, first_tokens, -1),
        int((np.bincount(example_of) > 1).sum()),
    )


def _divide(lengths: Sequence[int], counts: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """(borders (rows + 1,): the number of each row's first word; (rows,): its sentence)."""
    borders, example_of = [], []
    begin = 0
    for number, length in enumerate(lengths):
        end = begin + length
        pieces = counts[begin:end]
        total = int(pieces.sum())
        borders.append(begin)
        example_of.append(number)
        if total > room:
            share = total / math.ceil(total / room)
            used = 0
            for word, count in enumerate(pieces.tolist(), start=begin):
                if used and (used >= share or used + count > room):
                    borders.append(word)
                    example_of.append(number)
                    used = 0
                used += count
        begin = end
    return np.array([*borders, begin], np.int64), np.array(example_of, np.int64)

"""Sentences to BERT's training sequences: next-sentence pairs, or packed text.

This is the one place where the text of records is cut to length: `tokenize_shard` divides sentences
that are longer than any pair could hold, `make_pairs` drops the tokens that a pair has too many
(`cut_from_first`), and `make_packed` divides running text and drops nothing. Texts for fine-tuning
are cut in `tfbert.tasks.tokens.tokenization`.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary


class Document(NamedTuple):
    """The place of a document, or a part of one, in a `TokenizedShard`.

    Args:
        number: The document's number, the same for all of its parts.
        first: Its first sentence.
        last: One past its last sentence.
    """

    number: int
    first: int
    last: int


class TokenizedShard(NamedTuple):
    """The text of a shard as tokens.

    Args:
        tokens: (tokens,) ids, all sentences end to end.
        bounds: Sentences + 1 integers; sentence i is `tokens[bounds[i]:bounds[i + 1]]`.
    """

    tokens: np.ndarray
    bounds: list[int]
    documents: list[Document]

    def is_one_document(self) -> bool:
        """Whether no random next sentence can be drawn: there is no second document."""
        return len({document.number for document in self.documents}) < 2


class Spans(NamedTuple):
    """Sequences, as places in a row of tokens.

    Args:
        tokens: (tokens,) the row.
        a: (sequences, 2) int64, begin and end of the first segment.
        b: (sequences, 2) int64, begin and end of the second segment; None in packed text.
        random_next: (sequences,) bool, whether the second segment is of another document; None in
            packed text.
        cut_tokens: Tokens that were cut off because a pair was too long.
    """

    tokens: np.ndarray
    a: np.ndarray
    b: np.ndarray | None
    random_next: np.ndarray | None
    cut_tokens: int


def tokenize_shard(
    parts: Iterable[tuple[int, str]],
    tokenizer: BertTokenizer,
    split: Callable[[str], list[str]],
    longest: int,
) -> TokenizedShard:
    """Cuts documents into sentences and sentences into tokens.

    Args:
        parts: (document number, text) of each.
        split: Function from a text to its sentences.
        longest: Sentences with more tokens are cut, between words, into sentences of a quarter of
            that: text without full stops would be lost if it had to fit into one pair.

    Returns:
        `TokenizedShard`, without sentences and documents that have no token.
    """
    pieces: list[bytes] = []
    numbers: list[int] = []
    counts: list[int] = []
    for number, text in parts:
        if sentences := split(text):
            pieces.append(tokenizer.encode_sentences(sentences))
            numbers.append(number)
            counts.append(len(sentences))
    # One [PAD] stands at the end of each sentence.
    row = np.frombuffer(b"".join(pieces), tokenizer.vocabulary.dtype)
    is_end = row == tokenizer.vocabulary.pad
    tokens, marks = row[~is_end], np.flatnonzero(is_end)
    ends = marks - np.arange(len(marks))  # the marks before a sentence are not tokens
    document_ends = ends[np.cumsum(counts, dtype=np.int64) - 1]
    continues = tokenizer.vocabulary.is_continuation()
    lengths = np.diff(ends, prepend=0)
    for i in np.flatnonzero(lengths > longest):
        begin = ends[i] - lengths[i]
        words = np.flatnonzero(~continues[tokens[begin : ends[i]]])
        ends = np.append(ends, begin + _borders(words, lengths[i], longest // 4))
    # `union1d` leaves out sentences without a token, which end where another one does.
    bounds = np.union1d([0], ends)
    lasts = np.searchsorted(bounds, document_ends).tolist()
    documents = [
        Document(number, first, last)
        for number, first, last in zip(numbers, [0, *lasts], lasts, strict=False)
        if last > first
    ]
    return TokenizedShard(tokens, bounds.astype(np.int64).tolist(), documents)


def _borders(words: np.ndarray, length: int, step: int) -> np.ndarray:
    """Places in a sentence, `step` tokens from one to the next at most, each where a word begins.

    Args:
        words: Ascending places at which words begin.
        length: Tokens of the sentence.
        step: Most tokens between two borders, as far as words allow it.

    Returns:
        int64 array of numbers above 0 and below `length`.
    """
    borders, at = [], 0
    while length - at > step:
        word = int(words[bisect_right(words, at + step) - 1])
        at = word if word > at else at + step
        borders.append(at)
    return np.array(borders, np.int64)


def make_pairs(
    shard: TokenizedShard, length: int, short_probability: float, generator: random.Random
) -> Spans:
    """BERT's next-sentence pairs: A and B, half of the time B from another document.

    As in Google's code, a pair fills the sequence with whole sentences, A and B meet at a random
    sentence, sentences that a random B displaced are used again, and a pair that is too long loses
    tokens at either end of its longer half. What differs: the label is drawn before the sentences,
    so that half of the pairs are random (Google's code labels every lone sentence random); B is
    never of A's own document; a random B starts where enough text follows, so that less is padding.

    Where the shard is one document, every pair is of consecutive text.

    Args:
        length: Tokens a sequence, with [CLS] and two [SEP].
        short_probability: Share of pairs made for a random shorter length.

    References:
        Devlin et al., BERT, 2018, appendix A.2.
    """
    bounds, documents = shard.bounds, shard.documents
    budget = length - 3
    several = not shard.is_one_document()
    draw = generator.random
    rows: list[tuple[int, int, int, int, bool]] = []
    cut_tokens = 0
    for number, first, last in documents:
        lone_token = bounds[last] - bounds[first] == 1
        at = first
        while at < last:
            target = budget
            if draw() < short_probability:
                target = 2 + int(draw() * (budget - 1))
            end = min(bisect_left(bounds, bounds[at] + target, at + 1, last + 1), last)
            random_next = several and (draw() < 0.5 or lone_token)
            if not random_next and end - at == 1 and last - first > 1:
                # A lone sentence takes the next one along or, at the end, the one before.
                at, end = (at, at + 2) if end < last else (at - 1, end)
            middle = at + 1 + int(draw() * (end - at - 1))
            a_begin, a_end = bounds[at], bounds[middle]
            if random_next:
                needed = max(1, target - (a_end - a_begin))
                b_begin, b_end = _draw_elsewhere(bounds, documents, number, needed, draw)
                at = middle
            else:
                if middle == end:  # a document of one sentence
                    a_end = (a_begin + a_end + 1) // 2
                b_begin, b_end = a_end, bounds[end]
                at = end
            excess = (a_end - a_begin) + (b_end - b_begin) - budget
            if excess > 0:
                a_cut = cut_from_first(a_end - a_begin, b_end - b_begin, budget)
                b_cut = excess - a_cut
                # Each token goes from either end with the same probability, by a random bit.
                a_front = generator.getrandbits(a_cut).bit_count()
                b_front = generator.getrandbits(b_cut).bit_count()
                a_begin, a_end = a_begin + a_front, a_end - (a_cut - a_front)
                b_begin, b_end = b_begin + b_front, b_end - (b_cut - b_front)
                cut_tokens += excess
            rows.append((a_begin, a_end, b_begin, b_end, random_next))
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Spans(shard.tokens, table[:, 0:2], table[:, 2:4], table[:, 4].astype(bool), cut_tokens)


def _draw_elsewhere(
    bounds: Sequence[int],
    documents: Sequence[Document],
    number: int,
    needed: int,
    draw: Callable[[], float],
) -> tuple[int, int]:
    """Begin and end of some sentences of another document: `needed` tokens, if it has so many."""
    while True:
        other = documents[int(draw() * len(documents))]
        if other.number != number:
            break
    enough = bisect_right(bounds, bounds[other.last] - needed, other.first, other.last) - 1
    begin = other.first + int(draw() * (max(enough, other.first) - other.first + 1))
    end = bisect_left(bounds, bounds[begin] + needed, begin + 1, other.last + 1)
    return bounds[begin], bounds[min(end, other.last)]


def cut_from_first(a: int, b: int, budget: int) -> int:
    """How many tokens the first segment loses when the longer one is cut token by token.

    Args:
        a: Tokens of the first segment.
        b: Tokens of the second segment; it is cut where both are equally long.
        budget: Most tokens of both together, below `a + b`.
    """
    half = budget // 2
    if a <= half:
        return 0
    return a - (budget - min(b, half))


def make_packed(
    shard: TokenizedShard,
    length: int,
    short_probability: float,
    generator: random.Random,
    vocabulary: Vocabulary,
    whole_sentences: bool,
) -> Spans:
    """Text in a row, with a [SEP] between documents, cut into sequences; nothing is left out.

    Args:
        length: Tokens a sequence, with [CLS] and [SEP].
        short_probability: Share of sequences made for a random shorter length.
        whole_sentences: Sequences end at the end of a sentence; longer sentences are cut. False
            fills sequences up and goes on with the rest of the sentence in the next one. Either way
            a word stays in one sequence if it fits.

    References:
        Liu et al., RoBERTa, 2019, section 4.2 (FULL-SENTENCES).
    """
    document_ends = [shard.bounds[document.last] for document in shard.documents]
    row = np.insert(shard.tokens, document_ends, vocabulary.sep)
    sentence_ends = [
        shard.bounds[sentence + 1] + separators
        for separators, document in enumerate(shard.documents)
        for sentence in range(document.first, document.last)
    ]
    separators = {end + i for i, end in enumerate(document_ends)}
    continues = vocabulary.is_continuation()
    spans: list[tuple[int, int]] = []
    at, text_end = 0, len(row) - 1
    while at < text_end:
        target = length - 2
        if generator.random() < short_probability:
            target = 2 + int(generator.random() * (target - 1))
        end = min(at + target, text_end)
        sentences = bisect_right(sentence_ends, end)
        if whole_sentences and sentences and sentence_ends[sentences - 1] > at:
            end = sentence_ends[sentences - 1]
        word_begin = end
        while word_begin > at and continues[row[word_begin]]:
            word_begin -= 1
        end = word_begin if word_begin > at else end
        last = end - 1 if end - 1 in separators else end
        spans.append((at, last))
        at = end + 1 if end in separators else end
    return Spans(row, np.array(spans, np.int64).reshape(-1, 2), None, None, 0)


def assemble(spans: Spans, length: int, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Lays sequences out as a model reads them.

    Returns:
        Dictionary of arrays: `token_ids` (sequences, length) in the vocabulary's type, [CLS] A
        [SEP] B [SEP] and then [PAD]; `segment_ids` (sequences, length) uint8, 1 over B and its
        [SEP]; `padding_mask` (sequences, length) uint8, 1 on tokens and 0 on padding; for pairs
        `next_sentence_labels` (sequences,) uint8, 1 where B is of another document.
    """
    column = np.arange(length)
    a_begin, a_end = spans.a[:, :1], spans.a[:, 1:]
    first_sep = a_end - a_begin + 1
    source = a_begin + column - 1
    used = first_sep + 1
    segment_ids = np.zeros((len(spans.a), length), np.uint8)
    if spans.b is not None:
        b_begin, b_end = spans.b[:, :1], spans.b[:, 1:]
        in_b = column > first_sep
        source = np.where(in_b, b_begin + column - first_sep - 1, source)
        used = first_sep + 1 + b_end - b_begin + 1
        segment_ids[in_b & (column < used)] = 1
    token_ids = spans.tokens[np.clip(source, 0, max(0, len(spans.tokens) - 1))]
    token_ids[:, 0] = vocabulary.cls
    np.put_along_axis(token_ids, first_sep, vocabulary.sep, axis=1)
    np.put_along_axis(token_ids, used - 1, vocabulary.sep, axis=1)
    padding = column >= used
    token_ids[padding] = vocabulary.pad
    arrays = {
        "token_ids": token_ids,
        "segment_ids": segment_ids,
        "padding_mask": (~padding).astype(np.uint8),
    }
    if spans.random_next is not None:
        arrays["next_sentence_labels"] = spans.random_next.astype(np.uint8)
    return arrays

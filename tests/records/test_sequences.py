import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tfbert.records.sequences import (
    Document,
    TokenizedShard,
    assemble,
    cut_from_first,
    make_packed,
    make_pairs,
    tokenize_shard,
)
from tfbert.text.tokenizer import BertTokenizer

FIRST_ID = 100  # of made-up tokens, above all special ones

# Documents as lists of sentence lengths.
corpora = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=8)


def make_shard(corpus, numbers=None):
    """Every token of the shard is a different number, so that places can be told by it."""
    bounds, documents = [0], []
    for number, sentences in enumerate(corpus):
        first = len(bounds) - 1
        for length in sentences:
            bounds.append(bounds[-1] + length)
        number = numbers[number] if numbers else number
        documents.append(Document(number, first, len(bounds) - 1))
    return TokenizedShard(
        np.arange(FIRST_ID, FIRST_ID + bounds[-1], dtype="<u2"), bounds, documents
    )


def pairs_of(corpus, length, short_probability=0.0, seed=0, numbers=None):
    """A shard and the pairs made of it."""
    shard = make_shard(corpus, numbers)
    return shard, make_pairs(shard, length, short_probability, random.Random(seed))


def text_lengths(spans):
    """Tokens of text in each pair."""
    return np.diff(spans.a)[:, 0] + np.diff(spans.b)[:, 0]


def owner(shard, place):
    """Number of the document in which a token stands."""
    return next(d.number for d in shard.documents if place < shard.bounds[d.last])


@settings(deadline=None)
@given(corpora, st.integers(8, 64), st.sampled_from([0.0, 0.1, 0.9]), st.integers(0, 5))
def test_pairs(corpus, length, short_probability, seed):
    shard, spans = pairs_of(corpus, length, short_probability, seed)
    for (a_begin, a_end), (b_begin, b_end), is_random in zip(
        spans.a, spans.b, spans.random_next, strict=True
    ):
        assert a_begin < a_end and b_begin <= b_end
        assert (a_end - a_begin) + (b_end - b_begin) <= length - 3
        first = owner(shard, a_begin)
        assert first == owner(shard, a_end - 1)
        if b_begin == b_end:  # a document of one token, alone in its shard
            assert corpus == [[1]]
            continue
        assert owner(shard, b_begin) == owner(shard, b_end - 1)
        assert (owner(shard, b_begin) != first) == is_random
        if not is_random:
            assert b_begin >= a_end


@settings(deadline=None)
@given(corpora, st.integers(0, 5))
def test_every_token_is_in_a_first_or_actual_second_segment(corpus, seed):
    """With room for everything, pairs lose no text."""
    shard, spans = pairs_of(corpus, 2000, 0.1, seed)
    assert spans.cut_tokens == 0
    seen = np.zeros(len(shard.tokens), bool)
    for (a_begin, a_end), (b_begin, b_end), is_random in zip(
        spans.a, spans.b, spans.random_next, strict=True
    ):
        seen[a_begin:a_end] = True
        if not is_random:
            seen[b_begin:b_end] = True
    assert seen.all()


def test_actual_pairs_go_on_where_the_first_segment_ends():
    # 60 tokens of text are 12 sentences, so no pair is cut.
    _, spans = pairs_of([[5] * 40] * 20, 63)
    actual = ~spans.random_next
    assert actual.sum() > 20
    assert (spans.b[actual, 0] == spans.a[actual, 1]).all()


def test_half_of_the_pairs_are_random():
    generator = random.Random(1)
    corpus = [
        [generator.randint(2, 60) for _ in range(generator.randint(1, 30))] for _ in range(4000)
    ]
    _, spans = pairs_of(corpus, 128, 0.1, seed=2)
    counts = [spans.random_next.sum(), (~spans.random_next).sum()]
    assert sum(counts) > 10_000
    assert stats.chisquare(counts).pvalue > 0.001


def test_random_sentences_come_from_every_other_document_alike():
    shard, spans = pairs_of([[10] * 50] * 20, 32, seed=3)
    begins = spans.b[spans.random_next, 0]
    counts = Counter(owner(shard, begin) for begin in begins)
    assert stats.chisquare([counts[i] for i in range(20)]).pvalue > 0.001


def test_parts_of_one_document_are_not_random_to_each_other():
    shard, spans = pairs_of([[10] * 30, [10] * 30, [10] * 30], 32, numbers=[0, 0, 1])
    for a, b in zip(spans.a[spans.random_next, 0], spans.b[spans.random_next, 0], strict=True):
        assert owner(shard, a) != owner(shard, b)


def test_one_document_has_no_random_pairs():
    _, spans = pairs_of([[7] * 50], 32, 0.1)
    assert len(spans.a) > 10 and not spans.random_next.any()


def test_a_tenth_of_the_pairs_are_short():
    _, spans = pairs_of([[1] * 3000] * 10, 128, 0.1)
    # One in 124 short targets is the full length.
    short = text_lengths(spans) < 125
    assert stats.binomtest(int(short.sum()), len(short), 0.1).pvalue > 0.001, short.mean()


def test_pairs_fill_the_sequence():
    _, spans = pairs_of([[3] * 4000] * 5, 128)
    assert 1 - (3 + text_lengths(spans)).mean() / 128 < 0.03


@given(st.integers(1, 80), st.integers(1, 80), st.integers(2, 100))
def test_the_longer_segment_is_cut_token_by_token(a, b, budget):
    """The paper's loop: one token at a time from the longer segment, from B if both are as long."""
    if a + b <= budget:
        return
    left_a, left_b = a, b
    while left_a + left_b > budget:
        if left_a > left_b:
            left_a -= 1
        else:
            left_b -= 1
    assert cut_from_first(a, b, budget) == a - left_a


def test_long_pairs_are_cut_at_both_ends_alike():
    shard, spans = pairs_of([[200, 200]] * 3000, 128)
    starts = np.array(shard.bounds)
    front = spans.a[:, 0] - starts[np.searchsorted(starts, spans.a[:, 0], side="right") - 1]
    cut = 200 - (spans.a[:, 1] - spans.a[:, 0])
    assert abs((front / cut).mean() - 0.5) < 0.005
    assert spans.cut_tokens == sum(400 - 125 for _ in spans.a)


class PlainPieces:
    """A vocabulary whose tokens, made up, continue no word."""

    def __init__(self, sep):
        self.sep = sep

    def is_continuation(self):
        return np.zeros(10_000, bool)


def pack(shard, length, short_probability=0.0, sep=3, whole_sentences=True):
    pieces = PlainPieces(sep)
    return make_packed(shard, length, short_probability, random.Random(0), pieces, whole_sentences)


def unpack(spans, vocabulary):
    """The text of packed sequences, without the separators of documents."""
    tokens = np.concatenate([spans.tokens[begin:end] for begin, end in spans.a])
    return tokens[tokens != vocabulary.sep]


@pytest.mark.parametrize("whole_sentences", [True, False])
@settings(deadline=None)
@given(corpora, st.integers(8, 64), st.sampled_from([0.0, 0.1, 0.9]))
def test_packed_text_is_the_text(vocabulary, whole_sentences, corpus, length, short_probability):
    shard = make_shard(corpus)
    spans = pack(shard, length, short_probability, vocabulary.sep, whole_sentences)
    assert unpack(spans, vocabulary).tolist() == shard.tokens.tolist()
    lengths = spans.a[:, 1] - spans.a[:, 0]
    assert (lengths >= 1).all() and (lengths <= length - 2).all()
    for begin, end in spans.a:
        assert vocabulary.sep not in (spans.tokens[begin], spans.tokens[end - 1])
    if not short_probability and not whole_sentences:
        # All but the last are full, or end with a document.
        assert (lengths[:-1] >= length - 4).all()


def test_whole_sentences_end_sequences():
    spans = pack(make_shard([[10, 20, 30, 5], [100, 3]]), 42)
    # 10+20 | 30+5 (a [SEP] and a part of 100 would not be whole) | 40, 40, 20+3
    assert (spans.a[:, 1] - spans.a[:, 0]).tolist() == [30, 35, 40, 40, 23]


def test_words_are_not_cut(vocabulary):
    text = "the good movie was watching bad things and it was " * 30
    tokenizer = BertTokenizer(vocabulary)
    shard = tokenize_shard([(0, text)], tokenizer, lambda text: [text], 10_000)
    spans = make_packed(shard, 16, 0.1, random.Random(0), vocabulary, False)
    continues = vocabulary.is_continuation()
    assert not any(continues[spans.tokens[begin]] for begin, _ in spans.a)
    assert unpack(spans, vocabulary).tolist() == shard.tokens.tolist()


def test_layout_of_a_pair(vocabulary):
    _, spans = pairs_of([[3, 2]], 12)
    arrays = assemble(spans, 12, vocabulary)
    cls, sep, pad = vocabulary.cls, vocabulary.sep, vocabulary.pad
    a, b = [100, 101, 102], [103, 104]
    assert arrays["token_ids"].tolist() == [[cls, *a, sep, *b, sep, pad, pad, pad, pad]]
    assert arrays["segment_ids"].tolist() == [[0] * 5 + [1] * 3 + [0] * 4]
    assert arrays["padding_mask"].tolist() == [[1] * 8 + [0] * 4]
    assert arrays["next_sentence_labels"].tolist() == [0]
    assert arrays["token_ids"].dtype == vocabulary.dtype


def test_layout_of_packed_text(vocabulary):
    arrays = assemble(pack(make_shard([[3], [2]]), 9, sep=vocabulary.sep), 9, vocabulary)
    cls, sep, pad = vocabulary.cls, vocabulary.sep, vocabulary.pad
    assert arrays["token_ids"].tolist() == [[cls, 100, 101, 102, sep, 103, 104, sep, pad]]
    assert not arrays["segment_ids"].any()
    assert "next_sentence_labels" not in arrays


def test_sentences_and_documents_without_tokens_are_left_out(vocabulary):
    tokenizer = BertTokenizer(vocabulary)
    parts = [(0, "\u200b"), (1, "it was"), (2, "\u200b\nbad")]
    shard = tokenize_shard(parts, tokenizer, lambda text: text.split("\n"), 99)
    assert shard.documents == [Document(1, 0, 1), Document(2, 1, 2)]
    assert shard.bounds == [0, 2, 3]


@pytest.mark.parametrize("longest", [9, 45, 125])
def test_sentences_without_an_end_are_cut_between_words(vocabulary, longest):
    text = "it was watching the unusually good movie and " * 40
    tokenizer = BertTokenizer(vocabulary)
    whole, shard = (
        tokenize_shard([(0, text), (1, "it was")], tokenizer, lambda text: [text], most)
        for most in (10_000, longest)
    )
    assert shard.tokens.tolist() == whole.tokens.tolist()
    assert shard.bounds[-1] == whole.bounds[-1] and len(whole.bounds) == 3
    assert [document.number for document in shard.documents] == [0, 1]
    assert shard.documents[1].last == len(shard.bounds) - 1
    lengths = np.diff(shard.bounds)
    assert lengths.min() >= 1 and lengths.max() <= longest // 4
    if longest > 40:  # "unusually" has nine pieces
        continues = vocabulary.is_continuation()
        assert not continues[shard.tokens[shard.bounds[:-1]]].any()
    found = make_pairs(shard, longest + 3, 0.0, random.Random(0))
    lost = make_pairs(whole, longest + 3, 0.0, random.Random(0))
    assert found.cut_tokens < 0.3 * len(shard.tokens) < 0.8 * len(shard.tokens) < lost.cut_tokens

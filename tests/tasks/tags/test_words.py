"""Words as rows of tokens: where their first pieces are, long sentences, words without a piece."""

import numpy as np
import pytest

from tfbert.tasks.tags.words import encode_words, split_into_words
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary


@pytest.fixture(scope="module")
def tokenizer():
    pieces = [
        *SPECIAL_TOKENS,
        *"abcdefgh",
        *(f"##{letter}" for letter in "abcdefgh"),
        ".",
        "中",
        "'",
    ]
    return BertTokenizer(Vocabulary(pieces))


def pieces_of(rows, tokenizer, number):
    return [tokenizer.vocabulary.pieces[token] for token in rows.texts[number]]


def test_first_pieces(tokenizer):
    rows = encode_words(tokenizer, [["ab", "\u200b", "c", "\x00"], [], ["d."]], 10)
    assert pieces_of(rows, tokenizer, 0) == ["[CLS]", "a", "##b", "c", "[SEP]"]
    assert pieces_of(rows, tokenizer, 1) == ["[CLS]", "[SEP]"]
    assert pieces_of(rows, tokenizer, 2) == ["[CLS]", "d", ".", "[SEP]"]
    assert rows.first_tokens.tolist() == [1, -1, 3, -1, 8]
    assert rows.example_of.tolist() == [0, 1, 2] and rows.divided == 0


def test_a_long_sentence_is_divided_between_words(tokenizer):
    random = np.random.default_rng(0)
    letters = list("abcdefgh")
    sentences = [
        ["".join(random.choice(letters, random.integers(1, 5))) for _ in range(count)]
        for count in (3, 30, 1, 57)
    ]
    rows = encode_words(tokenizer, sentences, 12)
    assert rows.texts.lengths.max() <= 12
    assert rows.divided == 2 and rows.texts.truncated_texts == 0
    # Row by row, the words in their order, each whole.
    words = iter([word for sentence in sentences for word in sentence])
    for number in range(len(rows.texts)):
        spelled = "".join(
            piece.removeprefix("##") if piece.startswith("##") else f" {piece}"
            for piece in pieces_of(rows, tokenizer, number)[1:-1]
        ).split()
        assert spelled == [next(words) for _ in spelled]
    assert next(words, None) is None
    first = [tokenizer.vocabulary.pieces[token] for token in rows.texts.values[rows.first_tokens]]
    assert first == [word[0] for sentence in sentences for word in sentence]
    # The parts of a sentence are about as long as each other.
    parts = rows.texts.lengths[rows.example_of == 3]
    assert parts[:-1].min() >= 8


def test_a_word_longer_than_a_row_loses_its_end(tokenizer):
    rows = encode_words(tokenizer, [["a", "abcdefgh", "b"]], 6)
    assert [pieces_of(rows, tokenizer, number)[1:-1] for number in range(3)] == [
        ["a"],
        ["a", "##b", "##c", "##d"],
        ["b"],
    ]
    assert (rows.texts.truncated_texts, rows.texts.dropped_tokens) == (1, 4)


def test_texts_are_divided_as_bert_divides_them(tokenizer):
    text = "\u200bAbc d'e\u00a0.. 中中 zz\u0301z "
    (places,) = split_into_words(tokenizer, [text])
    words = [text[place.start : place.end] for place in places]
    assert words == ["Abc", "d", "'", "e", ".", ".", "中", "中", "zz\u0301z"]
    assert list(split_into_words(tokenizer, ["", "\u200b"])) == [[], []]
    # A mark that the tokenizer does not know, as it is younger, begins a word and ends none.
    assert list(split_into_words(tokenizer, [".\u0301\u0898a"])) == [[(0, 2), (2, 4)]]

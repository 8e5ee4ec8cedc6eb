import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.tasks.tokens.tokenization import tokenize
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import read_vocabulary

VOCABULARY = MODEL_DIRECTORY / "assets" / "tokenizer" / "vocabulary.txt"


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer(read_vocabulary(VOCABULARY))


@pytest.fixture(scope="module")
def reference():
    """Hugging Face's, an independent implementation."""
    return BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)


@settings(max_examples=150, deadline=None)
@given(text=st.text(string.ascii_letters + string.digits + string.punctuation + "  ", max_size=80))
def test_equal_to_hugging_face_on_printable_ascii(tokenizer, reference, text):
    if any(token in text for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")):
        return
    assert tokenize(tokenizer, [text], 512)[0].tolist() == reference.encode(text).ids


@pytest.mark.parametrize("text", ["Clichés, naïve café", "ÉCOLE Ångström", "Zürich façade", ""])
def test_accents_are_stripped_as_hugging_face_does(tokenizer, reference, text):
    ids = tokenize(tokenizer, [text], 512)[0].tolist()
    assert ids == reference.encode(text).ids
    assert tokenizer.unk_token_id not in ids


def test_literal_special_tokens_in_a_text_are_ordinary_characters(tokenizer):
    ids = tokenize(tokenizer, ["a [SEP] b [MASK]"], 512)[0].tolist()
    assert ids.count(tokenizer.sep_token_id) == 1
    assert tokenizer.mask_token_id not in ids


def test_long_texts_are_cut_and_counted(tokenizer):
    texts = ["one two three four five", "one", "one two three"]
    tokens = tokenize(tokenizer, texts, max_length=4)
    assert tokens.lengths.tolist() == [4, 3, 4]
    assert (tokens.truncated_texts, tokens.dropped_tokens) == (2, 4)
    for i in range(3):
        assert tokens[i][0] == tokenizer.cls_token_id
        assert tokens[i][-1] == tokenizer.sep_token_id
    np.testing.assert_array_equal(tokens[0], tokens[2])


def test_many_texts_keep_their_order_across_chunks(tokenizer):
    texts = ["one"] * 5000 + ["two three"] + ["one"] * 10
    tokens = tokenize(tokenizer, texts, 16)
    assert len(tokens) == 5011
    assert np.flatnonzero(tokens.lengths != 3).tolist() == [5000]


def test_no_texts(tokenizer):
    assert len(tokenize(tokenizer, [], 16)) == 0


@pytest.mark.parametrize("max_length", [*range(4, 14), 64])
def test_pairs_are_cut_as_in_hugging_faces_tokenizers(tokenizer, max_length):
    """The longer one first; [CLS] and the first text are segment 0."""
    words = ["the", "film", "is", "a", "very", "good", "one", "and", "not", "bad", "at", "all"]
    cases = [(a, b) for a in (0, 1, 3, 6, 11) for b in (0, 1, 2, 6, 11)]
    texts = [" ".join(words[:a]) for a, _ in cases]
    pairs = [" ".join(words[:b]) for _, b in cases]
    tokens = tokenize(tokenizer, texts, max_length, pairs)
    reference = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
    reference.enable_truncation(max_length, strategy="longest_first")
    for row, encoding in enumerate(reference.encode_batch(list(zip(texts, pairs, strict=True)))):
        assert tokens[row].tolist() == encoding.ids, cases[row]
        assert tokens.second_starts[row] == encoding.type_ids.index(1)

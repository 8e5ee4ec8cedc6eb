import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.text.counting.document_vectors import DocumentVectors, make_document_vectors
from tfbert.text.counting.documents import count_texts

PAD, CLS, SEP = range(3)
SPECIAL = np.array([True] * 3 + [False] * 17)
WORDS = np.arange(3, 20)


def in_a_row(documents, length=10):
    """[CLS] text [SEP] sequences of documents one after another, as `make_packed` cuts them."""
    row = np.concatenate([[*document, SEP] for document in documents])
    parts = [row[i : i + length - 2] for i in range(0, len(row), length - 2)]
    token_ids = np.full((len(parts), length), PAD)
    for sequence, part in zip(token_ids, parts, strict=True):
        sequence[: len(part) + 2] = [CLS, *part, SEP]
    return token_ids


def test_vectors_are_those_of_the_words_around_in_the_same_document():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, 5))
    rows[SPECIAL] = 0
    mean, spread = rng.normal(size=5), rng.uniform(0.5, 2, 5)
    # One document is longer than what counts on both sides, one is shorter than a sequence.
    documents = [rng.choice(WORDS, size) for size in (44, 5, 400, 30)]
    token_ids = in_a_row(documents)
    vectors, weights = DocumentVectors(rows, mean, spread, SEP)(token_ids)
    assert vectors.dtype == weights.dtype == np.float32
    whole = [(sequence == SEP).sum() == 1 for sequence in token_ids]
    assert 3 <= whole.count(False) <= 4
    for number, sequence in enumerate(token_ids):
        around = []
        for step in (-1, 1):
            for distance in range(1, 17):
                other = number + step * distance
                if not 0 <= other < len(token_ids) or not whole[other]:
                    break
                around.append(token_ids[other])
        assert weights[number] == (whole[number] and bool(around))
        if weights[number]:
            total = rows[np.concatenate(around)].sum(axis=0)
            expected = (total / np.linalg.norm(total) - mean) / spread
            np.testing.assert_allclose(vectors[number], expected, rtol=1e-5, atol=1e-5)
            assert sequence[0] == CLS


def test_two_kinds_of_documents_have_opposite_vectors():
    """The first of the directions tells kinds of texts apart, whatever their common words."""
    rng = np.random.default_rng(0)
    kinds = [np.r_[3:8, 3:8, 13:20], np.r_[8:13, 8:13, 13:20]]
    documents = [rng.choice(kinds[number % 2], 80) for number in range(60)]
    token_ids = np.stack([[CLS, *document, SEP] for document in documents])
    made = make_document_vectors(count_texts([token_ids], SPECIAL, SEP), 1, SEP)
    assert not made.rows[SPECIAL].any()
    parts = [in_a_row([document]) for document in documents]
    vectors = [made(part)[0][:-1].mean() for part in parts]
    signs = np.sign(vectors)
    assert (signs[::2] == signs[0]).all()
    assert (signs[1::2] == -signs[0]).all()
    # Over documents, 0 on average and 1 wide.
    assert np.mean(vectors) == pytest.approx(0, abs=0.2)
    assert np.std(vectors) == pytest.approx(1, abs=0.2)


def test_the_same_text_yields_the_same_signs():
    rng = np.random.default_rng(0)
    token_ids = np.stack([[CLS, *rng.choice(WORDS, 40), SEP] for _ in range(30)])
    texts = count_texts([token_ids], SPECIAL, SEP)
    one, other = (make_document_vectors(texts, 4, SEP, seed) for seed in (1, 2))
    np.testing.assert_allclose(one.rows, other.rows, atol=1e-4)


def test_too_few_texts_are_refused():
    token_ids = np.array([[CLS, 3, 4, 5, SEP], [CLS, 6, 7, 8, SEP]])
    texts = count_texts([token_ids], SPECIAL, SEP)
    with pytest.raises(InputError, match="differ in one way at most"):
        make_document_vectors(texts, 4, SEP)

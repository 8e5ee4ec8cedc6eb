import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.text.counting.documents import count_texts, factorize_texts

PAD, CLS, SEP, MASK = range(4)
SPECIAL = np.array([True] * 4 + [False] * 16)


def sequences(rng, count=30, length=26):
    """Random pieces 4 to 18, two [SEP] somewhere inside, a [MASK], and padding; 19 is nowhere."""
    token_ids = rng.integers(4, 19, (count, length))
    token_ids[:, 0] = CLS
    for row, padding in zip(token_ids, rng.integers(0, 6, count), strict=True):
        row[rng.choice(np.arange(2, length - 8), 2, replace=False)] = SEP
        row[rng.integers(1, length - 8)] = MASK
        row[length - 1 - padding :] = [SEP] + [PAD] * padding
    return token_ids


def counted_one_by_one(batches):
    texts = []
    for row in np.concatenate([[*row, SEP] for batch in batches for row in batch]), []:
        text = np.zeros(len(SPECIAL))
        for piece in row:
            if piece == SEP:
                texts += [text] if text.any() else []
                text = np.zeros(len(SPECIAL))
            elif not SPECIAL[piece]:
                text[piece] += 1
    return np.array(texts)


def test_counts():
    rng = np.random.default_rng(0)
    batches = [sequences(rng), sequences(rng, 7), sequences(rng, 3, 12)]
    counts = count_texts(iter(batches), SPECIAL, SEP).toarray()
    np.testing.assert_array_equal(counts, counted_one_by_one(batches))


@pytest.mark.parametrize("dim", [4, 32])  # also wider than the vocabulary
def test_factors(dim):
    """Against NumPy's dense decomposition; directions are free, angles between words are not."""
    batch = sequences(np.random.default_rng(1))
    counts = counted_one_by_one([batch])
    found = (counts > 0).sum(axis=0)
    weights = np.log1p(counts) * np.log(len(counts) / np.maximum(found, 1)) * (found > 0)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    _, values, right = np.linalg.svd(weights, full_matrices=False)
    expected = (right.T * values**0.5)[4:19, : min(dim, len(SPECIAL) - 1)]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    embeddings = factorize_texts(count_texts([batch], SPECIAL, SEP), dim)
    assert embeddings.shape == (len(SPECIAL), dim)
    assert embeddings.dtype == np.float32
    ours = embeddings[4:19].astype(np.float64)
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=1e-4)
    np.testing.assert_array_equal(embeddings[[0, 1, 2, 3, 19]], 0)


@pytest.mark.parametrize("rows", [[[CLS, 5, SEP]], [[CLS, 5, SEP]] * 4, [[CLS, SEP, PAD]]])
def test_texts_that_do_not_differ(rows):
    counts = count_texts([np.array(rows)], SPECIAL, SEP)
    with pytest.raises(InputError, match="--embeddings documents: the texts of the records do not"):
        factorize_texts(counts, 4)


def test_words_of_one_opinion_are_near():
    """Pieces 4 and 5 are used alike, each with words of its own kind of text far from it."""
    rng = np.random.default_rng(2)
    shape = (600, 20)
    one, other = rng.integers(6, 12, shape), rng.integers(12, 18, shape)
    one[:, 10], other[:, 10] = 4, 5
    for texts in (one, other):
        texts[:, 8:10], texts[:, 11:13] = 18, 18  # the nearest neighbours are the same
        texts[:, 0] = CLS
    embeddings = factorize_texts(count_texts([one, other], SPECIAL, SEP), 2)
    assert embeddings[4] @ embeddings[6] > 0.8 > 0.2 > abs(embeddings[4] @ embeddings[5])

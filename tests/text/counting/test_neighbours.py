import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.text.counting.neighbours import WINDOW, count_neighbours, factorize

PAD, CLS, SEP = 0, 1, 2
SPECIAL = np.array([True] * 3 + [False] * 17)


def sequences(rng, count=30, length=26):
    """Random pieces 3 to 18, a [SEP] somewhere inside, and padding; piece 19 never occurs."""
    token_ids = rng.integers(3, 19, (count, length))
    token_ids[:, 0] = CLS
    token_ids[np.arange(count), rng.integers(2, length - 8, count)] = SEP
    for row, padding in zip(token_ids, rng.integers(0, 6, count), strict=True):
        row[length - 1 - padding :] = [SEP] + [PAD] * padding
    return token_ids


def counted_one_by_one(token_ids):
    counts = np.zeros((len(SPECIAL),) * 2)
    for row in token_ids:
        for i, left in enumerate(row):
            for j in range(i + 1, min(i + WINDOW + 1, len(row))):
                right = row[j]
                if SPECIAL[row[i : j + 1]].any():
                    break
                counts[left, right] += (WINDOW + 1 - (j - i)) / WINDOW
                counts[right, left] += (WINDOW + 1 - (j - i)) / WINDOW
    return counts


def associations(counts):
    """Levy, Goldberg & Dagan 2015, equations 2 and 3, in float64."""
    context = counts.sum(0) ** 0.75
    joint = counts / counts.sum()
    word = counts.sum(1) / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(joint / np.outer(word, context / context.sum()))
    return np.where(counts > 0, np.maximum(values, 0), 0)


def cosines(embeddings):
    embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings @ embeddings.T


@pytest.mark.parametrize("pairs_at_once", [1, 20_000_000])
def test_counts(monkeypatch, pairs_at_once):
    monkeypatch.setattr("tfbert.text.counting.neighbours._PAIRS_AT_ONCE", pairs_at_once)
    rng = np.random.default_rng(0)
    batches = [sequences(rng), sequences(rng, 7), sequences(rng, 3, 12)]
    expected = sum(counted_one_by_one(batch) for batch in batches)
    counts = count_neighbours(iter(batches), SPECIAL).toarray()
    np.testing.assert_allclose(counts, expected, rtol=1e-5)


@pytest.mark.parametrize("dim", [4, 32])  # also wider than the vocabulary
def test_factors(dim):
    """Against NumPy's dense decomposition; directions are free, angles between words are not."""
    counts = counted_one_by_one(sequences(np.random.default_rng(1)))
    # As many as the truncated decomposition can have: one less than there are rows.
    rank = min(dim, len(SPECIAL) - 1)
    left, values, _ = np.linalg.svd(associations(counts))
    expected = (left * values**0.5)[3:19, :rank]
    embeddings = factorize(count_neighbours([sequences(np.random.default_rng(1))], SPECIAL), dim)
    assert embeddings.shape == (len(SPECIAL), dim)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(cosines(embeddings[3:19]), cosines(expected), atol=1e-4)
    np.testing.assert_allclose((embeddings[3:19] ** 2).mean(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(embeddings[[0, 1, 2, 19]], 0)


@pytest.mark.parametrize("row", [[CLS, 3, SEP, PAD], [CLS, 3, 3, 3, SEP]])
def test_text_without_associations(row):
    with pytest.raises(InputError, match="--embeddings: no two word pieces"):
        factorize(count_neighbours([np.array([row] * 4)], SPECIAL), 8)


def test_words_of_one_use_are_near():
    """Pieces 3 and 4 stand among 5 to 11, pieces 12 and 13 among 14 to 18."""
    rng = np.random.default_rng(2)
    shape = (800, 12)
    rare = rng.random(shape) < 0.2
    one = np.where(rare, rng.integers(3, 5, shape), rng.integers(5, 12, shape))
    other = np.where(rare, rng.integers(12, 14, shape), rng.integers(14, 19, shape))
    token_ids = np.concatenate([one, other])
    near = cosines(factorize(count_neighbours([token_ids], SPECIAL), 8)[3:19])
    assert near[0, 1] > 0.8  # 3 and 4
    assert near[9, 10] > 0.8  # 12 and 13
    assert abs(near[0, 9]) < 0.2  # 3 and 12

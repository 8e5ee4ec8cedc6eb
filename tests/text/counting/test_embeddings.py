import numpy as np
import pytest

from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import BertSize
from tfbert.text.counting.documents import count_texts, factorize_texts
from tfbert.text.counting.embeddings import document_embeddings, start_token_embeddings
from tfbert.text.counting.neighbours import count_neighbours, factorize
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary

VOCABULARY = Vocabulary([*SPECIAL_TOKENS, *(f"word{number}" for number in range(5, 24))])
SPECIAL = VOCABULARY.is_special()


def sequences():
    """Two batches; lower numbers are more frequent, 23 does not occur."""
    rng = np.random.default_rng(3)
    for count in (40, 20):
        token_ids = np.minimum(5 + rng.geometric(0.12, (count, 20)) - 1, 22)
        token_ids[:, 0], token_ids[:, 9], token_ids[:, -1] = 2, 3, 3
        yield token_ids


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def test_documents_and_neighbours_are_joined():
    """Angles and lengths by hand, in float64."""
    counts, near = count_texts(sequences(), SPECIAL, 3), count_neighbours(sequences(), SPECIAL)
    embeddings = document_embeddings(counts, near, 16, length=10.0).astype(np.float64)
    texts = factorize_texts(counts, 4).astype(np.float64)
    neighbours = unit(factorize(near, 12).astype(np.float64))
    known = counts.toarray().sum(axis=0) > 0
    assert 10 < known.sum() < len(known) - len(SPECIAL_TOKENS)
    expected = unit(np.concatenate([texts, neighbours / 2], axis=1)[known])
    found = unit(embeddings[known])
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)
    share = counts.toarray().sum(axis=0)[known] / counts.sum()
    lengths = np.sqrt((embeddings[known] ** 2).mean(axis=1))
    np.testing.assert_allclose(lengths, 10 * np.sqrt(1e-3 / (1e-3 + share)), rtol=1e-5)
    np.testing.assert_array_equal(embeddings[~known], 0)


@pytest.mark.parametrize(
    ("kind", "length"), [("cooccurrence", 1.0), ("documents", 1.0), ("documents", 3.0)]
)
def test_a_model_begins_with_them(kind, length):
    model = make_pretrainer(BertSize(1, 16, 2, 32), len(VOCABULARY), max_sequence_length=32)
    embeddings = model.backbone.token_embedding.embeddings
    before = np.array(embeddings)
    start_token_embeddings(model, kind, sequences, VOCABULARY, length=length)
    after = np.array(embeddings)
    unknown = [0, 1, 2, 3, 4, 23]
    np.testing.assert_array_equal(after[unknown], before[unknown])
    near, bias = count_neighbours(sequences(), SPECIAL), np.array(model.mlm_head.bias)
    if kind == "documents":
        texts = count_texts(sequences(), SPECIAL, 3)
        counted = document_embeddings(texts, near, 16, length=length)
        occurrences = np.bincount(np.concatenate([*sequences()]).ravel(), minlength=len(SPECIAL))
        occurrences[SPECIAL] = 0
        expected = (occurrences + 1) / (occurrences + 1).sum()
        np.testing.assert_allclose(np.exp(bias.astype(np.float64)), expected, rtol=1e-5)
    else:
        counted = factorize(near, 16)
        np.testing.assert_array_equal(bias, 0)
    known = counted.any(axis=1)
    np.testing.assert_allclose(after[known], counted[known] * before.std(), rtol=1e-6)

"""Token embeddings from neighbours: how often word pieces stand near each other.

In a short training run, masked-token prediction meets a rarer word only a few times and hardly
learns what it means. Counting sees every occurrence of it, and takes a minute: the association of
words and their neighbours, factorized, yields embeddings like those of word2vec
(Levy & Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", NeurIPS 2014).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import svds

from tfbert.errors import InputError

WINDOW = 10  # pieces to each side; the nearest one counts 1, the farthest a tenth
# Levy, Goldberg & Dagan, "Improving Distributional Similarity" (TACL 2015), sections 3.2 and 3.3.
_CONTEXT_POWER = 0.75  # makes associations with rare words smaller
_SINGULAR_VALUE_POWER = 0.5
_PAIRS_AT_ONCE = 20_000_000


def count_neighbours(
    batches: Iterable[np.ndarray], is_special: np.ndarray
) -> scipy.sparse.csr_matrix:
    """How often word pieces stand near each other.

    Args:
        batches: (sequences, length) integer arrays of token ids.
        is_special: (vocabulary,) bool; padding, [CLS], [SEP], [MASK] and the like have no
            neighbours, and two pieces with one of them in between are not near each other.

    Returns:
        (vocabulary, vocabulary), symmetric: pairs at most `WINDOW` apart, each weighted by its
        nearness.
    """
    size = len(is_special)
    counts = scipy.sparse.csr_matrix((size, size), dtype=np.float32)
    pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    pairs = 0
    for token_ids in batches:
        special = is_special[token_ids]
        # No special piece is between two pieces with equally many special ones before them.
        before = np.cumsum(special, axis=1)
        for distance in range(1, min(WINDOW + 1, token_ids.shape[1])):
            near = ~special[:, distance:] & (before[:, distance:] == before[:, :-distance])
            near &= ~special[:, :-distance]
            left, right = token_ids[:, :-distance][near], token_ids[:, distance:][near]
            weights = np.full(len(left), (WINDOW + 1 - distance) / WINDOW, np.float32)
            pending.append((weights, left, right))
            pairs += len(left)
        if pairs > _PAIRS_AT_ONCE:
            counts, pending, pairs = counts + _sparse(pending, size), [], 0
    if pending:
        counts = counts + _sparse(pending, size)
    return (counts + counts.T).tocsr()


def _sparse(
    pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]], size: int
) -> scipy.sparse.csr_matrix:
    weights, left, right = (np.concatenate(part) for part in zip(*pending, strict=True))
    return scipy.sparse.coo_matrix((weights, (left, right)), shape=(size, size)).tocsr()


def factorize(counts: scipy.sparse.csr_matrix, dim: int, seed: int = 0) -> np.ndarray:
    """Embeddings whose products approximate the association of word pieces.

    Args:
        counts: From `count_neighbours`.
        dim: Width of the embeddings.
        seed: Seed of the random rotation at the end.

    Returns:
        (vocabulary, dim) float32 array; rows have a root mean square of 1, and are 0 for pieces
        without neighbours.

    Raises:
        InputError: If no two pieces are near each other more often than by chance.
    """
    counts = counts.tocoo()
    occurrences = np.asarray(counts.sum(axis=1)).ravel().astype(np.float64)
    contexts = occurrences**_CONTEXT_POWER
    contexts /= max(contexts.sum(), 1e-30)
    # Positive pointwise mutual information.
    association = np.log(counts.data / (occurrences[counts.row] * contexts[counts.col]))
    kept = association > 0
    if not kept.any():
        raise InputError(
            "--embeddings: no two word pieces of the records stand near each other "
            "more often than by chance; give more text, or --embeddings random"
        )
    matrix = scipy.sparse.csr_matrix(
        (association[kept], (counts.row[kept], counts.col[kept])), shape=counts.shape
    )
    rank = min(dim, counts.shape[0] - 1)
    left, values, _ = svds(matrix, k=rank, rng=seed)
    # A random rotation: no direction is special, as in random embeddings.
    directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    embeddings = (left * values**_SINGULAR_VALUE_POWER) @ directions[:rank]
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = norms > 1e-6 * norms.max(initial=1e-30)
    return np.where(found, embeddings / np.maximum(norms, 1e-30) * dim**0.5, 0).astype(np.float32)

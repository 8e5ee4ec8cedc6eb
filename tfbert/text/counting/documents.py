"""Token embeddings from documents: which word pieces occur in the same texts.

Neighbours tell how a word is used: "good" and "bad" have the same ones. Texts tell what they are
about and whether it is praised: the words of a good review are in other texts than those of a bad
one. The counts of pieces by text, factorized, are latent semantic analysis (Deerwester et al.,
"Indexing by Latent Semantic Analysis", JASIS 1990).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import svds

from tfbert.errors import InputError

_SINGULAR_VALUE_POWER = 0.5  # as for neighbours


def count_texts(
    batches: Iterable[np.ndarray], is_special: np.ndarray, separator: int
) -> scipy.sparse.csr_matrix:
    """How often each word piece occurs in each text.

    A text is what lies between two [SEP] of a sequence, or between one and the sequence's ends: a
    document, or as much of it as the sequence holds.

    Args:
        batches: (sequences, length) integer arrays of token ids.
        is_special: (vocabulary,) bool; padding, [CLS], [SEP], [MASK] and the like are not counted.
        separator: The id of [SEP].

    Returns:
        (texts, vocabulary) float32; each row has at least one piece.
    """
    size = len(is_special)
    parts = [scipy.sparse.csr_matrix((0, size), dtype=np.float32)]
    for token_ids in batches:
        separators = np.cumsum(token_ids == separator, axis=1)
        # A number of its own for each text; none has more separators than tokens before it.
        numbers = np.arange(len(token_ids))[:, None] * (token_ids.shape[1] + 1) + separators
        counted = ~is_special[token_ids]
        texts, rows = np.unique(numbers[counted], return_inverse=True)
        columns = token_ids[counted].astype(np.int64)
        ones = np.ones(len(rows), np.float32)
        shape = (len(texts), size)
        parts.append(scipy.sparse.coo_matrix((ones, (rows, columns)), shape=shape).tocsr())
    return scipy.sparse.vstack(parts, format="csr")


def factorize_texts(counts: scipy.sparse.csr_matrix, dim: int, seed: int = 0) -> np.ndarray:
    """Embeddings of word pieces by the texts that they are in.

    Of c occurrences in a text, the weight is log(1 + c) * log(texts / texts with the piece)
    (Salton & Buckley, "Term-weighting approaches in automatic text retrieval", 1988), and each text
    has the length 1.

    Args:
        counts: From `count_texts`.
        dim: Width of the embeddings.
        seed: Seed of the decomposition's first vector.

    Returns:
        (vocabulary, dim) float32 array; rows have the length 1, and are 0 for pieces in no text or
        in all of them. Columns are 0 where the text has not as many dimensions.

    Raises:
        InputError: If the texts do not differ.
    """
    texts, size = counts.shape
    found_in = np.asarray((counts > 0).sum(axis=0)).ravel()
    rarity = np.log(max(texts, 1) / np.maximum(found_in, 1)) * (found_in > 0)
    weights = counts.tocoo()
    values = np.log1p(weights.data) * rarity[weights.col]
    weighted = scipy.sparse.csr_matrix((values, (weights.row, weights.col)), shape=counts.shape)
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    rank = min(dim, texts - 1, size - 1)
    if rank < 1 or not lengths.any():
        raise InputError(
            "--embeddings documents: the texts of the records do not differ; give more text, or "
            "--embeddings random"
        )
    weighted = scipy.sparse.diags_array(1 / np.maximum(lengths, 1e-30)) @ weighted
    _, values, right = svds(weighted, k=rank, rng=seed)
    embeddings = np.zeros((size, dim), np.float32)
    embeddings[:, :rank] = right.T * np.maximum(values, 0) ** _SINGULAR_VALUE_POWER
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = norms > 1e-6 * norms.max(initial=1e-30)
    return np.where(found, embeddings / np.maximum(norms, 1e-30), 0).astype(np.float32)

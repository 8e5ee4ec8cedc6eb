"""What a new model begins with, if not with random numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse

from tfbert.text.counting.documents import count_texts, factorize_texts
from tfbert.text.counting.neighbours import count_neighbours, factorize
from tfbert.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import keras

# Of the width, the part that comes from texts: 64 of 256 were best of 16, 64 and 128.
_SHARE_OF_TEXTS = 0.25
_LENGTH_OF_NEIGHBOURS = 0.5  # of that part; the other one's length is 1
_COMMON = 1e-3  # the row of a piece of this frequency is 0.71 times as long as a rare one's
# Lengths of a rare piece's row, in units of a random embedding's. Rows that are not trained should
# outweigh positions: 10 was better than 1 and 3. In training, 10 hides the positions, and the loss
# stays that of frequencies alone.
LENGTH_OF_FROZEN, LENGTH_OF_TRAINED = 10.0, 1.0


def start_token_embeddings(
    model: keras.Model,
    kind: Literal["cooccurrence", "documents"],
    sequences: Callable[[], Iterable[np.ndarray]],
    vocabulary: Vocabulary,
    seed: int = 0,
    length: float = LENGTH_OF_TRAINED,
) -> None:
    """Sets a new model's token embeddings from the text; those of special pieces stay random.

    With `cooccurrence` the spread of each embedding is that of the random ones, so that the sums
    with position and segment embeddings and the first losses are as in BERT. With `documents` the
    bias of the masked-LM head becomes the logarithm of each piece's frequency: else the first
    updates would learn that in the hidden states, and lose there what the text says.

    Args:
        model: A new `BertPretrainer`.
        kind: `cooccurrence`, see `tfbert.text.counting.neighbours`; `documents`, see
            `document_embeddings`.
        sequences: Gives the (sequences, length) arrays of token ids; it may be called twice.
        seed: As in `factorize`.
        length: As in `document_embeddings`, and used for these alone.

    Raises:
        InputError: If there is too little text.
    """
    embeddings = model.backbone.token_embedding.embeddings
    random = np.array(embeddings)
    dim, is_special = random.shape[1], vocabulary.is_special()
    neighbours = count_neighbours(sequences(), is_special)
    if kind == "documents":
        texts = count_texts(sequences(), is_special, vocabulary.sep)
        counted = document_embeddings(texts, neighbours, dim, seed, length)
        occurrences = _occurrences(texts) + 1  # what does not occur here may occur elsewhere
        model.mlm_head.bias.assign(np.log(occurrences / occurrences.sum()))
    else:
        counted = factorize(neighbours, dim, seed)
    counted = counted * random.std()
    known = counted.any(axis=1, keepdims=True)
    embeddings.assign(np.where(known, counted, random))


def document_embeddings(
    texts: scipy.sparse.csr_matrix,
    neighbours: scipy.sparse.csr_matrix,
    dim: int,
    seed: int = 0,
    length: float = LENGTH_OF_TRAINED,
) -> np.ndarray:
    """Embeddings of word pieces by the texts they are in and, with less weight, by neighbours.

    An embedding is the longer the rarer its piece: by the square root of a / (a + p), where p is
    the piece's frequency and a = 0.001 (Arora, Liang & Ma, "A Simple but Tough-to-Beat Baseline for
    Sentence Embeddings", ICLR 2017, where the whole of it weighs the words of a mean). The first
    layers of a new encoder are little more than such a mean.

    Args:
        texts: From `count_texts`.
        neighbours: From `count_neighbours`.
        dim: Width of the embeddings.
        seed: As in `factorize`.
        length: The root mean square of a rare piece's row.

    Returns:
        (vocabulary, dim) float32 array, 0 for pieces that occur nowhere.

    Raises:
        InputError: If there is too little text.
    """
    of_texts = int(dim * _SHARE_OF_TEXTS)
    by_texts = factorize_texts(texts, of_texts, seed)
    by_neighbours = _of_length_1(factorize(neighbours, dim - of_texts, seed))
    joined = np.concatenate([by_texts, _LENGTH_OF_NEIGHBOURS * by_neighbours], axis=1)
    # A random rotation: no direction is special, as in random embeddings.
    directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    occurrences = _occurrences(texts)
    weights = np.sqrt(_COMMON / (_COMMON + occurrences / occurrences.sum()))
    rows = length * dim**0.5 * weights[:, None] * _of_length_1(joined @ directions)
    return rows.astype(np.float32)


def _occurrences(texts: scipy.sparse.csr_matrix) -> np.ndarray:
    """Of each word piece, (vocabulary,) float64."""
    return np.asarray(texts.sum(axis=0), np.float64).ravel()


def _of_length_1(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)

"""What the text around a sequence is about: a vector that the words of its document add up to.

`documents` of this package gives words vectors by the texts they are in. The sum of those of a
document says what it is about, and, in reviews, whether it praises. A sequence of the document can
learn to say the same of the rest of it, which it has not read.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse

from tfbert.errors import InputError
from tfbert.text.counting.documents import decompose_texts, of_length_1, weigh_texts

_NEAREST = 16  # sequences before and after: a book is about many things
_ROWS = 512  # sequences at a time


@dataclasses.dataclass(frozen=True)
class DocumentVectors:
    """Vectors of the texts around sequences.

    Args:
        rows: (vocabulary, dim) float32, what each word piece adds; 0 for special pieces.
        mean, spread: (dim,) float32, of the documents' vectors, which are thereby 0 +- 1.
        separator: The id of [SEP].
    """

    rows: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    separator: int

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.rows.shape[1]

    def __call__(self, token_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of sequences that follow each other in the text.

        Args:
            token_ids: (sequences, length), [CLS] text [SEP]; a further [SEP] inside is the border
                of two documents.

        Returns:
            ((sequences, dim) float32, the vector of the up to 16 sequences of the same document on
            each side; (sequences,) float32, 1 where there are any and the sequence lies in one
            document, else 0.)
        """
        starts = range(0, len(token_ids), _ROWS)
        sums = [self.rows[token_ids[i : i + _ROWS]].sum(axis=1) for i in starts]
        own = np.concatenate(sums).astype(np.float64)
        count = len(own)
        is_border = (token_ids == self.separator).sum(axis=1) > 1
        # Runs of sequences without a border: of one document each.
        begins = np.flatnonzero(np.diff(is_border, prepend=~is_border[:1]))
        ends = np.append(begins[1:], count)
        run = np.repeat(np.arange(len(begins)), ends - begins)
        place = np.arange(count)
        first = np.maximum(begins[run], place - _NEAREST)
        last = np.minimum(ends[run], place + _NEAREST + 1)
        before = np.concatenate([np.zeros((1, self.dim)), np.cumsum(own, axis=0)])
        around = before[last] - before[first] - own
        vectors = (of_length_1(around) - self.mean) / self.spread
        return vectors.astype(np.float32), ((last - first > 1) & ~is_border).astype(np.float32)

    def of_records(
        self, token_ids: np.ndarray, places: np.ndarray, count: int
    ) -> dict[str, np.ndarray]:
        """Vectors of records that stand in another order than the text has.

        Args:
            token_ids: (records, length) or more, of which the first ones count.
            places: (records,), where in the text they are.
            count: Places in the text; records that are not given are lost.

        Returns:
            `document_vectors`, (records, dim), and `document_weights`, (records,), as `__call__`.
        """
        # A lost record is full of [SEP]: there may have been a border in it.
        in_text = np.full((count, token_ids.shape[1]), self.separator)
        in_text[places] = token_ids[: len(places)]
        vectors, weights = self(in_text)
        return {"document_vectors": vectors[places], "document_weights": weights[places]}


def make_document_vectors(
    texts: scipy.sparse.csr_matrix, dim: int, separator: int, seed: int = 0
) -> DocumentVectors:
    """Makes the vectors from the texts' most important directions.

    All directions have the same weight.

    Args:
        texts: From `count_texts`.
        dim: Width of the vectors.
        separator: The id of [SEP].
        seed: As in `factorize_texts`.

    Raises:
        InputError: If there is too little text.
    """
    weighted, idf = weigh_texts(texts)
    _, directions = decompose_texts(weighted, dim + 1, seed)
    # The last direction, of the largest value, is what all texts have in common.
    directions = directions[:, :-1]
    if not directions.size:
        raise InputError(
            "--document-share: the texts of the records differ in one way at most; give more text"
        )
    # A direction has two signs, of which a resumed run must find the same one again.
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    rows = (idf[:, None] * directions).astype(np.float32)
    vectors = of_length_1(texts @ rows)
    spread = np.maximum(vectors.std(axis=0), 1e-6)
    return DocumentVectors(rows, vectors.mean(axis=0), spread, separator)

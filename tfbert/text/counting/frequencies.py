"""How frequent word pieces are, and how much less a frequent one counts than a rare one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_COMMON = 1e-3  # a piece of this frequency counts 0.71 times as much as a rare one


def count_pieces(batches: Iterable[np.ndarray], is_special: np.ndarray) -> np.ndarray:
    """How often each word piece occurs.

    Args:
        batches: (sequences, length) integer arrays of token ids.
        is_special: (vocabulary,) bool; these are not counted.

    Returns:
        (vocabulary,) int64.
    """
    counts = np.zeros(len(is_special), np.int64)
    for token_ids in batches:
        counts += np.bincount(token_ids.ravel(), minlength=len(counts))
    counts[is_special] = 0
    return counts


def rarity(occurrences: np.ndarray) -> np.ndarray:
    """sqrt(a / (a + p)): 1 for a rare piece, 0.14 for one that is every twentieth; a = 0.001.

    Mikolov et al. ("Distributed Representations of Words and Phrases and their Compositionality",
    2013, equation 5) keep a word of the text with the probability sqrt(a / p). Here p is the
    frequency, and the form is bounded by 1, as Arora et al. have it (ICLR 2017).

    Args:
        occurrences: (vocabulary,), not all 0.

    Returns:
        (vocabulary,) float64, above 0, at most 1.
    """
    return np.sqrt(_COMMON / (_COMMON + occurrences / occurrences.sum()))

"""Masks: which tokens are to be predicted, and what takes their place; whole batches at once."""

import math

import numpy as np

from tfbert.randomness import make_key, random_bits, uniform
from tfbert.text.vocabulary import Vocabulary

_MASKED, _RANDOM = 0.8, 0.1  # the rest of the chosen tokens stay as they are
_ROWS = 512  # sequences at a time, so that the arrays stay in the processor's cache
_NO_UNIT = np.uint64(2**64 - 1)
_LOW_BITS = np.uint64(0xFFFF)
_HIGH_BITS = np.uint64(0xFFFFFFFF00000000)
# Offsets that keep four streams of random numbers apart: units, actions, words, span lengths.
_ORDER, _ACTION, _WORD, _SPAN = (np.uint64(i << 32) for i in range(4))


def default_predictions(length: int, fraction: float = 0.15) -> int:
    """The most predictions that a sequence of `length` tokens needs: 20 for 128, 77 for 512."""
    return max(1, math.ceil(length * fraction - 1e-9))


def example_keys(seed: int | str, epoch: int, examples: np.ndarray) -> np.ndarray:
    """Keys of the masks of some examples: a function of (seed, epoch, example) alone.

    Args:
        seed: Number, or any text; another one means other masks.
        epoch: From 0.
        examples: (batch,) integers.

    Returns:
        (batch,) uint64.
    """
    return random_bits(make_key("masks", seed, epoch), examples)


def original_ids(batch: dict[str, np.ndarray]) -> np.ndarray:
    """The token ids of a batch before masking, (batch, length); as they are where it has no masks.

    Args:
        batch: What `Masker` returns, or records with masks that are fixed.
    """
    if "mask_positions" not in batch:
        return batch["token_ids"]
    token_ids = batch["token_ids"].copy()
    rows, slots = np.nonzero(batch["mask_weights"])
    token_ids[rows, batch["mask_positions"][rows, slots]] = batch["mask_ids"][rows, slots]
    return token_ids


class Masker:
    """Draws masks as BERT does: 15 % of the tokens; 80 % of these become [MASK], 10 % a random one.

    A sequence of n tokens, special ones included, gets min(max_predictions, max(1, round(0.15 n)))
    predictions. Units (tokens, whole words or spans of words) are drawn in random order, and one
    that would make too many predictions is skipped. So there are fewer only where none of the
    remaining units fits.

    Args:
        max_predictions: Most predictions a sequence.
        fraction: Share of the tokens to predict.
        whole_word: Mask all pieces of a word together.
        ngram: Longest span in words; a length n has probability proportional to 1/n. Spans never
            cross a special token.

    References:
        Devlin et al., BERT, 2018, section 3.1; whole words: the BERT repository's note of May 2019;
        spans: Lan et al., ALBERT, 2019, section 4.1.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        max_predictions: int,
        fraction: float = 0.15,
        whole_word: bool = True,
        ngram: int = 1,
    ) -> None:
        self.vocabulary = vocabulary
        self.max_predictions = max_predictions
        self.fraction = fraction
        self.whole_word = whole_word
        self.ngram = ngram
        self._special = vocabulary.is_special()
        self._continues = vocabulary.is_continuation()
        self._words = np.flatnonzero(~self._special).astype(vocabulary.dtype)

    def __call__(self, token_ids: np.ndarray, keys: np.ndarray) -> dict[str, np.ndarray]:
        """Masks a batch.

        Args:
            token_ids: (batch, length) ids with special tokens and padding.
            keys: (batch,) uint64 from `example_keys`.

        Returns:
            Dictionary of arrays: `token_ids` like the input, with masks; `mask_positions`,
            (batch, max_predictions) uint16, ascending; `mask_ids`, the original tokens there;
            `mask_weights`, uint8, 1 where there is a prediction and 0 after the last one.
        """
        starts = range(0, max(1, len(token_ids)), _ROWS)
        parts = [self._mask(token_ids[i : i + _ROWS], keys[i : i + _ROWS]) for i in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _mask(self, token_ids: np.ndarray, keys: np.ndarray) -> dict[str, np.ndarray]:
        chosen = self._choose(token_ids, keys)
        rows, columns = np.nonzero(chosen)
        first = np.searchsorted(rows, np.arange(len(token_ids)))
        slots = np.arange(len(rows)) - first[rows]
        shape = (len(token_ids), self.max_predictions)
        positions = np.zeros(shape, np.uint16)
        ids = np.zeros(shape, token_ids.dtype)
        weights = np.zeros(shape, np.uint8)
        positions[rows, slots] = columns
        ids[rows, slots] = originals = token_ids[rows, columns]
        weights[rows, slots] = 1
        masked = token_ids.copy()
        masked[rows, columns] = self._replace(originals, keys[rows], columns)
        return {
            "token_ids": masked,
            "mask_positions": positions,
            "mask_ids": ids,
            "mask_weights": weights,
        }

    def _replace(self, originals: np.ndarray, keys: np.ndarray, columns: np.ndarray) -> np.ndarray:
        columns = columns.astype(np.uint64)
        action = uniform(random_bits(keys, columns + _ACTION))
        drawn = uniform(random_bits(keys, columns + _WORD))
        words = self._words[(drawn * len(self._words)).astype(np.int64)]
        kept_or_random = np.where(action < _MASKED + _RANDOM, words, originals)
        return np.where(action < _MASKED, self.vocabulary.mask, kept_or_random)

    def _choose(self, token_ids: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """(batch, length) bool: the tokens to predict."""
        candidates = ~self._special[token_ids]
        tokens = (token_ids != self.vocabulary.pad).sum(axis=1)
        # `rint` rounds halves to even, as Python's `round` in the paper's code does.
        wanted = np.maximum(1, np.rint(tokens * self.fraction)).astype(np.int64)
        wanted = np.minimum(wanted, self.max_predictions)
        begins = candidates.copy()
        if self.whole_word:
            begins[:, 1:] &= ~(self._continues[token_ids[:, 1:]] & candidates[:, :-1])
        if self.ngram == 1:
            return _draw_units(candidates, begins, wanted, keys)
        chosen = _draw_units(candidates, self._join_words(candidates, begins, keys), wanted, keys)
        # Where no span fits any more, single words make up the number.
        short = np.flatnonzero(chosen.sum(axis=1) < wanted)
        rest = candidates[short] & ~chosen[short]
        left = wanted[short] - chosen[short].sum(axis=1)
        chosen[short] |= _draw_units(rest, begins[short] & rest, left, keys[short])
        return chosen

    def _join_words(
        self, candidates: np.ndarray, begins: np.ndarray, keys: np.ndarray
    ) -> np.ndarray:
        """Keeps of `begins` only the start of each span of words; the spans are random."""
        batch, length = candidates.shape
        shares = 1 / np.arange(1, self.ngram + 1)
        limits = np.cumsum(shares) / shares.sum()
        drawn = uniform(random_bits(keys, np.arange(length, dtype=np.uint64)[:, None] + _SPAN))
        words = 1 + np.searchsorted(limits[:-1], drawn, side="right")  # (length, batch)
        left = np.zeros(batch, np.int64)
        joined = np.zeros_like(begins)
        for column in range(length):
            left[~candidates[:, column]] = 0
            joined[:, column] = begins[:, column] & (left == 0)
            left = np.where(joined[:, column], words[column], left) - begins[:, column]
        return joined


def _draw_units(
    candidates: np.ndarray, begins: np.ndarray, wanted: np.ndarray, keys: np.ndarray
) -> np.ndarray:
    """Takes units in random order as long as they fit.

    Args:
        candidates: (batch, length) bool, tokens that may be chosen.
        begins: (batch, length) bool, candidates at which a unit begins; it ends before the next one
            or before a token that is not a candidate.
        wanted: (batch,) how many tokens to choose.
        keys: (batch,) uint64.

    Returns:
        (batch, length) bool.
    """
    batch, length = candidates.shape
    column = np.arange(length)
    begin = np.maximum.accumulate(np.where(begins, column, 0), axis=1)
    flat_begin = begin + length * np.arange(batch)[:, None]
    sizes = np.bincount(flat_begin[candidates], minlength=batch * length).reshape(batch, length)
    # One number a unit: random bits to sort by, and its size and place to have them at hand.
    units = random_bits(keys[:, None], column.astype(np.uint64) + _ORDER) & _HIGH_BITS
    units |= (sizes << 16 | column).astype(np.uint64)
    units = np.sort(np.where(begins, units, _NO_UNIT), axis=1)
    units = np.ascontiguousarray(units[:, : begins.sum(axis=1).max(initial=0)].T)
    sizes = np.where(units == _NO_UNIT, length, units >> np.uint64(16) & _LOW_BITS).astype(np.int64)
    taken = np.zeros(units.shape, bool)
    count = np.zeros(batch, np.int64)
    for i in range(len(units)):
        taken[i] = count + sizes[i] <= wanted
        count += sizes[i] * taken[i]
        if (count == wanted).all():
            break
    order, rows = np.nonzero(taken)
    unit_taken = np.zeros_like(candidates)
    unit_taken[rows, (units[order, rows] & _LOW_BITS).astype(np.int64)] = True
    return candidates & np.take_along_axis(unit_taken, begin, axis=1)

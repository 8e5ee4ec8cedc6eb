"""Batches of texts of similar length: a function of (seed, epoch, step), without any state.

A batch is padded to its longest text, so texts of similar length belong together. To keep training
random, each epoch shuffles all examples, cuts them into pools of many batches, sorts only inside a
pool, and shuffles the batches again.
"""

import dataclasses
import math

import numpy as np

PAD_MULTIPLE = 8  # lengths are rounded up to it: fewer shapes, better aligned matrix products
# Batches in a pool: more waste less padding, fewer mix the examples better. A small data set has at
# least four pools, or the same texts would meet in every epoch.
_POOL_BATCHES = 64
_LEAST_POOLS = 4


@dataclasses.dataclass(frozen=True)
class LengthBatches:
    """The batches of every epoch.

    Args:
        lengths: (examples,) tokens of each example.
        batch_size: Examples a batch; the last batch of an epoch may hold fewer.
        seed: Seed of the order; None keeps one fixed order, longest first (an evaluation that
            runs out of memory does so at once).
    """

    lengths: np.ndarray
    batch_size: int
    seed: int | None = None

    @property
    def steps(self):
        """Batches an epoch."""
        return math.ceil(len(self.lengths) / self.batch_size)

    def epoch(self, number):
        """The batches of an epoch: a list of arrays of example positions; each example once."""
        if self.seed is None:
            order = np.argsort(-self.lengths, kind="stable")
            return self._cut(order)
        random = np.random.default_rng((self.seed, number))
        order = random.permutation(len(self.lengths))
        pool_size = self.batch_size * min(_POOL_BATCHES, math.ceil(self.steps / _LEAST_POOLS))
        batches = []
        for begin in range(0, len(order), pool_size):
            pool = order[begin : begin + pool_size]
            batches += self._cut(pool[np.argsort(self.lengths[pool], kind="stable")])
        return [batches[i] for i in random.permutation(len(batches))]

    def _cut(self, order):
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]


def collate(texts, positions, max_length):
    """Pads the texts at `positions` to one length.

    Args:
        texts: `TokenizedTexts`.
        positions: (batch,) positions in `texts`.
        max_length: The padded length is the longest text's, rounded up to `PAD_MULTIPLE`, but
            never above this.

    Returns:
        KerasHub's inputs, each (batch, length) int32: `token_ids`, `segment_ids` (zeros) and
        `padding_mask` (1 on tokens).
    """
    rows = [texts[position] for position in positions]
    longest = max(map(len, rows))
    length = min(math.ceil(longest / PAD_MULTIPLE) * PAD_MULTIPLE, max_length)
    token_ids = np.full((len(rows), length), texts.pad_token_id, np.int32)
    padding_mask = np.zeros((len(rows), length), np.int32)
    for row, ids in enumerate(rows):
        token_ids[row, : len(ids)] = ids
        padding_mask[row, : len(ids)] = 1
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": padding_mask,
    }

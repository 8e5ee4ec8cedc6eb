"""Batches of texts of similar length: a function of (seed, epoch, step), without any state.

A batch is padded to its longest text, so texts of similar length belong together. To keep training
random, each epoch shuffles all examples, cuts them into pools of many batches, sorts only inside a
pool, and shuffles the batches again. Batches of a number of tokens have one pool for each length
that texts are padded to.
"""

import dataclasses
import functools
import math

import numpy as np

from tfbert.tasks.tokens.tokenization import TokenizedTexts

FEW = 4  # lengths of a compiler that makes a program for each
PAD_MULTIPLE = 8  # lengths are rounded up to it: fewer shapes, better aligned matrix products
# Batches in a pool: more waste less padding, fewer mix the examples better. A small data set has
# three or four pools, or the same texts would meet in every epoch.
_POOL_BATCHES = 64
_POOLS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class LengthBatches:
    """The batches of every epoch.

    Args:
        lengths: (examples,) tokens of each example.
        batch_size: Examples a batch; one batch of an epoch may hold fewer.
        seed: Seed of the order; None keeps one fixed order, longest first (an evaluation that
            runs out of memory does so in its first batch).
    """

    lengths: np.ndarray
    batch_size: int
    seed: int | None = None

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return math.ceil(len(self.lengths) / self.batch_size)

    def epoch(self, number: int) -> list[np.ndarray]:
        """The batches of an epoch: a list of arrays of example positions; each example once."""
        if self.seed is None:
            return self._cut(np.argsort(-self.lengths, kind="stable"))
        random = np.random.default_rng((self.seed, number))
        order = random.permutation(len(self.lengths))
        pool_size = self.batch_size * min(_POOL_BATCHES, math.ceil(self.steps / _POOLS))
        batches = []
        for begin in range(0, len(order), pool_size):
            pool = order[begin : begin + pool_size]
            batches += self._cut(pool[np.argsort(self.lengths[pool], kind="stable")])
        return [batches[i] for i in random.permutation(len(batches))]

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]


@dataclasses.dataclass(frozen=True, eq=False)
class TokenBatches:
    """Batches limited by their tokens, padding included, instead of by their examples.

    Each epoch draws which examples of the same padded length share a batch, and the order of the
    batches. How many examples each batch holds depends on the lengths alone, so that every epoch
    has the same number of batches; examples of one length that fit into one batch always share it.

    Args:
        lengths: (examples,) tokens of each example.
        padded: (n,) the lengths that batches may be padded to; see `padded_lengths`.
        tokens: Most tokens of a batch: its examples times the length that they are padded to.
        seed: Seed of the order.

    Raises:
        ValueError: If an example alone has more tokens.
    """

    lengths: np.ndarray
    padded: np.ndarray
    tokens: int
    seed: int

    def __post_init__(self) -> None:
        longest = int(self._rows.max(initial=0))
        if longest > self.tokens:
            raise ValueError(f"a batch of {self.tokens} tokens cannot hold an example of {longest}")

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self._cuts) + 1

    def epoch(self, number: int) -> list[np.ndarray]:
        """The batches of an epoch: a list of arrays of example positions; each example once."""
        random = np.random.default_rng((self.seed, number))
        order = random.permutation(len(self.lengths))
        batches = np.split(order[np.argsort(self._rows[order], kind="stable")], self._cuts)
        return [batches[i] for i in random.permutation(len(batches))]

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        """(examples,) the length that each example alone is padded to."""
        return self.padded[np.searchsorted(self.padded, self.lengths)]

    @functools.cached_property
    def _cuts(self) -> list[int]:
        """Where batches begin, but for the first, in the examples by rising length."""
        cuts, begin = [], 0
        for end, length in enumerate(np.sort(self._rows).tolist()):
            if (end + 1 - begin) * length > self.tokens:
                cuts.append(end)
                begin = end
        return cuts


def padded_lengths(max_length: int, few: bool = False) -> np.ndarray:
    """The lengths that batches may be padded to, in rising order.

    Args:
        max_length: The last of them.
        few: At most four lengths, for a compiler that makes a program for each, instead of all
            multiples of `PAD_MULTIPLE`.
    """
    step = PAD_MULTIPLE
    if few:
        step *= math.ceil(max_length / (FEW * PAD_MULTIPLE))
    return np.array([*range(step, max_length, step), max_length])


def fitted_lengths(tokens: np.ndarray, max_length: int) -> np.ndarray:
    """Four lengths or fewer, for a compiler that makes a program for each, with the least padding.

    Args:
        tokens: (n,) of each batch of equally many texts its longest; or of each text, where texts
            of one padded length meet.
        max_length: Most tokens of any.

    Returns:
        (lengths,) ascending: multiples of `PAD_MULTIPLE` or `max_length`. The last one holds the
        longest of `tokens`.
    """
    every = padded_lengths(max_length)
    counts = np.bincount(np.searchsorted(every, tokens), minlength=len(every))
    every = every[: int(np.flatnonzero(counts)[-1]) + 1]
    held = np.append(0, np.cumsum(counts))  # by those that are no longer than a length
    # cost[n]: the padded tokens of what lengths up to the n-th hold, the n-th being the last taken.
    cost = every * held[1 : len(every) + 1]
    taken = [[n] for n in range(len(every))]
    for _ in range(FEW - 1):
        better = cost.copy(), list(taken)
        for last in range(len(every)):
            for before in range(last):
                padded = cost[before] + every[last] * (held[last + 1] - held[before + 1])
                if padded < better[0][last]:
                    better[0][last], better[1][last] = padded, [*taken[before], last]
        cost, taken = better
    return every[taken[-1]]


def padded_length(tokens: np.ndarray, lengths: np.ndarray) -> int:
    """What a batch is padded to: of the rising `lengths` the least that holds all its texts.

    Args:
        tokens: (batch,) the tokens of each text.
    """
    return int(lengths[np.searchsorted(lengths, tokens.max())])


def collate(
    texts: TokenizedTexts, positions: np.ndarray, lengths: np.ndarray
) -> dict[str, np.ndarray]:
    """Pads the texts at `positions` to one length.

    Args:
        positions: (batch,) positions in `texts`.
        lengths: (n,) lengths to choose from; see `padded_length` and `padded_lengths`.

    Returns:
        KerasHub's inputs, each (batch, length) int32: `token_ids` (rows of the model's word table),
        `segment_ids` (1 on the second text of a pair) and `padding_mask` (1 on tokens).
    """
    rows = [texts[position] for position in positions]
    length = padded_length(texts.lengths[positions], lengths)
    token_ids = np.full((len(rows), length), texts.pad_token_id, np.int32)
    segment_ids = np.zeros((len(rows), length), np.int32)
    padding_mask = np.zeros((len(rows), length), np.int32)
    for row, (ids, second) in enumerate(zip(rows, texts.second_starts[positions], strict=True)):
        token_ids[row, : len(ids)] = ids
        segment_ids[row, second : len(ids)] = 1
        padding_mask[row, : len(ids)] = 1
    if texts.row_of is not None:
        token_ids = texts.row_of[token_ids]
    return {
        "token_ids": token_ids,
        "segment_ids": segment_ids,
        "padding_mask": padding_mask,
    }

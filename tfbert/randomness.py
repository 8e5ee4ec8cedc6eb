"""Random numbers without state: a function of the seed and of what they are for.

The same numbers on every machine, in every order, in any number of processes.
"""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def make_key(*parts: int | str) -> np.uint64:
    """A 64-bit key of any numbers and strings, such as (seed, "epoch", 3)."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def random_bits(key: np.ndarray | np.uint64, counters: np.ndarray) -> np.ndarray:
    """Uniform 64-bit numbers, one a counter.

    They are the numbers of a SplitMix64 generator (Steele, Lea and Flood, "Fast splittable
    pseudorandom number generators", 2014) that starts at the key, each at its counter.

    Args:
        key: uint64 number or array from `make_key` or `random_bits`.
        counters: Integer array that broadcasts with `key`.

    Returns:
        uint64 array.
    """
    with np.errstate(over="ignore"):
        state = np.asarray(counters).astype(np.uint64) * _GOLDEN + key
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        return state ^ (state >> np.uint64(31))


def uniform(bits: np.ndarray) -> np.ndarray:
    """Random bits as float64 numbers in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(key: np.uint64, count: int) -> np.ndarray:
    """A random order of `count` things, int64."""
    return np.argsort(random_bits(key, np.arange(count)), kind="stable")

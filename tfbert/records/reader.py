"""Training records as batches: any batch by its number, masks drawn anew each epoch."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.randomness import make_key, permutation
from tfbert.records.masking import example_keys, original_ids
from tfbert.records.record_source import RecordSource
from tfbert.records.tfrecords import read_frames

_log = logging.getLogger(__name__)
_WINDOWS_IN_MEMORY = 2  # a batch may begin in one window and end in the next


class Damage(NamedTuple):
    """What could not be read: how many records of a file, and which ones, in words."""

    path: Path
    records: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.records} damaged records: {self.what}"


class PretrainingRecords:
    """Batches of training records, each one a function of (seed, its number).

    Examples come in the order of epochs: each epoch is all examples once, in an order of its own,
    and batches go on over its end, so batch `step` holds the examples from `step * batch_size` on.
    The order shuffles shards, then all examples of `window` consecutive shards together. The next
    sound record takes the place of a damaged one; `damages` and the log name the file.

    Args:
        source: From `open_records`.
        batch_size: Examples a batch, over all workers.
        seed: Seed of the order and of the masks.
        shuffle: False keeps the order of the files.
        window: Shards that are in memory and shuffled together.

    Raises:
        InputError: If `batch_size` or `window` is below 1.

    Examples:
        >>> records = PretrainingRecords(open_records("records"), batch_size=32)   # doctest: +SKIP
        >>> records.batch(1000)["mask_positions"].shape                            # doctest: +SKIP
        (32, 20)
    """

    def __init__(
        self,
        source: RecordSource,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        window: int = 16,
    ) -> None:
        for name, number in (("batch_size", batch_size), ("window", window)):
            if number < 1:
                raise InputError(f"{name} is {number}: it must be at least 1")
        self.source = source
        self.batch_size = batch_size
        self.examples = source.examples
        self.damages: list[Damage] = []
        self._seed = seed
        self._shuffle = shuffle
        self._window = window
        self._first_example = np.cumsum([0, *(shard.examples for shard in source.shards)])
        self._windows: dict[tuple[int, int], tuple[dict[str, np.ndarray], np.ndarray]] = {}

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """A batch by its number.

        Args:
            step: Number of the batch, from 0, over all epochs.

        Returns:
            Dictionary of arrays with KerasHub's names: `token_ids`, `segment_ids`, `padding_mask`
            (batch, length) int32; `mask_positions`, `mask_ids` (batch, predictions) int32 and
            `mask_weights` float32; for pairs `next_sentence_labels` (batch,) int32.

        Raises:
            InputError: If a shard cannot be read, or holds no sound record.
        """
        if step < 0:
            raise InputError(f"batch {step}: batches are numbered from 0")
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        parts = []
        for epoch in np.unique(places // self.examples):
            positions = places[places // self.examples == epoch] % self.examples
            parts.append(self._read(int(epoch), positions))
        return _join(parts)

    def sequences(self) -> Iterator[np.ndarray]:
        """Yields the token ids of all examples, (examples, length), a shard at a time, unmasked."""
        for number in range(len(self.source.shards)):
            yield original_ids(self._load_shard(number)[0])

    def _read(self, epoch: int, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Examples at some positions of an epoch's order, with their masks."""
        order = self._shard_order(epoch)
        ends = np.cumsum([self.source.shards[shard].examples for shard in order])
        ends = np.append(ends[:-1][self._window - 1 :: self._window], ends[-1])  # of windows
        numbers = np.searchsorted(ends, positions, side="right")
        parts, examples = [], []
        for number in np.unique(numbers):
            arrays, of_window = self._load_window(epoch, int(number), order)
            inside = positions[numbers == number] - (ends[number - 1] if number else 0)
            parts.append({name: values[inside] for name, values in arrays.items()})
            examples.append(of_window[inside])
        arrays = _join(parts)
        if self.source.masker is not None:
            keys = example_keys(self._seed, epoch, np.concatenate(examples))
            arrays |= self.source.masker(arrays["token_ids"], keys)
        return {
            name: values.astype(np.float32 if name == "mask_weights" else np.int32)
            for name, values in arrays.items()
        }

    def _shard_order(self, epoch: int) -> np.ndarray:
        count = len(self.source.shards)
        if not self._shuffle:
            return np.arange(count)
        return permutation(make_key("shards", self._seed, epoch), count)

    def _load_window(
        self, epoch: int, number: int, shard_order: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Some shards' examples in their order, and their numbers in the dataset; remembered."""
        if (epoch, number) not in self._windows:
            while len(self._windows) >= _WINDOWS_IN_MEMORY:
                del self._windows[next(iter(self._windows))]
            shards = shard_order[number * self._window : (number + 1) * self._window]
            loaded = [self._load_shard(int(shard)) for shard in shards]
            examples = np.concatenate([numbers for _, numbers in loaded])
            order = np.arange(len(examples))
            if self._shuffle:
                order = permutation(make_key("window", self._seed, epoch, number), len(examples))
            joined = _join([arrays for arrays, _ in loaded])
            arrays = {name: values[order] for name, values in joined.items()}
            self._windows[epoch, number] = arrays, examples[order]
        return self._windows[epoch, number]

    def _load_shard(self, number: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """A shard's examples, and their numbers in the dataset."""
        path, count = self.source.shards[number]
        try:
            frames = read_frames(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        arrays, good = self.source.decode(frames, path)
        self._check_ids(arrays, path)
        # Which records of the shard these are. A file that was cut short lacks the last ones.
        sound = np.flatnonzero(good[:count])
        if len(sound) < count:
            self._report(path, count, sound, frames.rest)
            # A damaged record's place goes to the next sound one, so that every batch stays full.
            places = np.searchsorted(sound, np.arange(count)) % len(sound)
        else:
            places = np.arange(count)
        arrays = {name: values[places] for name, values in arrays.items()}
        return arrays, self._first_example[number] + sound[places]

    def _check_ids(self, arrays: dict[str, np.ndarray], path: Path) -> None:
        vocabulary = self.source.vocabulary
        if vocabulary is None:
            return
        for name in {"token_ids", "mask_ids"} & set(arrays):
            ids = arrays[name]
            if ids.size and not 0 <= ids.min() <= ids.max() < len(vocabulary):
                raise InputError(
                    f"{path}: holds ids up to {ids.max()}, and the vocabulary has "
                    f"{len(vocabulary)} word pieces; name the records' own one"
                )

    def _report(self, path: Path, count: int, sound: np.ndarray, rest: str | None) -> None:
        lost = np.setdiff1d(np.arange(count), sound)
        what = "number " + ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
        damage = Damage(path, len(lost), f"{what}; {rest}" if rest else what)
        if not len(sound):
            raise InputError(str(damage))
        if damage not in self.damages:
            self.damages.append(damage)
            _log.warning("%s; the next sound records take their place", damage)


def _join(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

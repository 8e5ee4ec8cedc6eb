"""Training records back as batches: any batch by its number, masks drawn anew each epoch."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.randomness import make_key, permutation
from tfbert.records.foreign import parse_examples
from tfbert.records.masking import example_keys
from tfbert.records.tfrecords import read_frames
from tfbert.tasks.batch_sources import untuned

_log = logging.getLogger(__name__)
_WINDOWS_IN_MEMORY = 2  # a batch may begin in one window and end in the next


class Damage(NamedTuple):
    """What could not be read.

    Args:
        path: The file.
        records: How many of its records are lost.
        what: In words.
    """

    path: Path
    records: int
    what: str

    def __str__(self):
        return f"{self.path}: {self.records} damaged records: {self.what}"


class PretrainingRecords:
    """Batches of training records, each one a function of (seed, its number).

    Examples come in the order of epochs: each epoch is all examples once, in an order of its own,
    and batches go on over its end, so batch `step` holds the examples from `step * batch_size` on.
    The order shuffles shards, then all examples of `window` consecutive shards together. It does
    not depend on the number of workers: worker w of n reads the w-th n-th of each batch. Every
    worker unpacks every shard for that (some 100,000 examples a second and core).

    Args:
        source: `RecordSource` from `open_records`.
        batch_size: Examples a batch, over all workers.
        seed: Seed of the order and of the masks.
        shuffle: False keeps the order of the files.
        worker: Which worker this is.
        workers: How many workers share a batch.
        window: Shards that are in memory and shuffled together.
        on_damage: `skip` puts the next sound record in place of a damaged one and reports the file
            in `damages` and the log; `raise` stops.

    Raises:
        InputError: If the batch cannot be shared by the workers, or a record is damaged and
            `on_damage` is `raise`.

    Examples:
        >>> records = PretrainingRecords(open_records("records"), batch_size=32)   # doctest: +SKIP
        >>> records.batch(1000)["mask_positions"].shape                            # doctest: +SKIP
        (32, 20)
    """

    def __init__(
        self,
        source,
        batch_size,
        seed=0,
        shuffle=True,
        worker=0,
        workers=1,
        window=16,
        on_damage="skip",
    ):
        if workers < 1:
            raise InputError(f"workers is {workers}: it must be at least 1")
        if window < 1:
            raise InputError(f"window is {window}: it must be at least 1")
        if batch_size < 1 or batch_size % workers or not 0 <= worker < workers:
            raise InputError(f"a batch of {batch_size} cannot be shared by {workers} workers")
        if on_damage not in ("skip", "raise"):
            raise InputError(f"on_damage is {on_damage!r}: it must be skip or raise")
        self.source = source
        self.batch_size = batch_size
        self.examples = sum(shard.examples for shard in source.shards)
        self.damages = []
        self._seed = seed
        self._shuffle = shuffle
        self._window = window
        self._on_damage = on_damage
        share = batch_size // workers
        self._mine = np.arange(worker * share, (worker + 1) * share)
        first = np.cumsum([0] + [shard.examples for shard in source.shards])
        self._first_example = first[:-1]
        self._windows = {}

    @property
    def batches_per_epoch(self):
        """Batches in which every example is seen once; the last one goes on into the next epoch."""
        return -(-self.examples // self.batch_size)

    def batch(self, step):
        """This worker's part of a batch.

        Args:
            step: Number of the batch, from 0, over all epochs.

        Returns:
            Dictionary of arrays with KerasHub's names: `token_ids`, `segment_ids`, `padding_mask`
            (batch, length) int32; `mask_positions`, `mask_ids` (batch, predictions) int32 and
            `mask_weights` float32; for pairs `next_sentence_labels` (batch,) int32.
        """
        if step < 0:
            raise InputError(f"batch {step}: batches are numbered from 0")
        places = step * self.batch_size + self._mine
        parts = []
        for epoch in np.unique(places // self.examples):
            positions = places[places // self.examples == epoch] % self.examples
            parts.append(self._read(int(epoch), positions))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def dataset(self, first_step=0, steps=None):
        """The batches as a `tf.data.Dataset`, read ahead in a thread.

        Args:
            first_step: Number of the first batch.
            steps: How many batches; without end by default.

        Returns:
            `tf.data.Dataset` of dictionaries as in `batch`.
        """
        import tensorflow as tf

        signature = {
            name: tf.TensorSpec(values.shape, values.dtype)
            for name, values in self.batch(first_step).items()
        }

        def generate():
            step = first_step
            while steps is None or step < first_step + steps:
                yield self.batch(step)
                step += 1

        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        return untuned(dataset.prefetch(tf.data.AUTOTUNE))

    def sequences(self):
        """Yields the token ids of all examples, (examples, length), a shard at a time, unmasked.

        Masks that are fixed in the records stay in them.
        """
        for number in range(len(self.source.shards)):
            yield self._load_shard(number)[0]["token_ids"]

    def _read(self, epoch, positions):
        """Examples at some positions of an epoch's order, with their masks."""
        order = self._shard_order(epoch)
        ends = np.cumsum([self.source.shards[shard].examples for shard in order])
        last = np.minimum(
            np.arange(self._window, len(ends) + self._window, self._window), len(ends)
        )
        ends = ends[last - 1]  # of windows
        numbers = np.searchsorted(ends, positions, side="right")
        parts = []
        for number in np.unique(numbers):
            arrays, examples = self._load_window(epoch, int(number), order)
            inside = positions[numbers == number] - (ends[number - 1] if number else 0)
            parts.append(({name: v[inside] for name, v in arrays.items()}, examples[inside]))
        arrays = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
        if self.source.masker is not None:
            examples = np.concatenate([numbers for _, numbers in parts])
            keys = example_keys(self._seed, epoch, examples)
            arrays |= self.source.masker(arrays["token_ids"], keys)
        return {
            name: values.astype(np.float32 if name == "mask_weights" else np.int32)
            for name, values in arrays.items()
        }

    def _shard_order(self, epoch):
        count = len(self.source.shards)
        if not self._shuffle:
            return np.arange(count)
        return permutation(make_key("shards", self._seed, epoch), count)

    def _load_window(self, epoch, number, order):
        """Some shards' examples in their order, and their numbers in the dataset; remembered."""
        if (epoch, number) not in self._windows:
            while len(self._windows) >= _WINDOWS_IN_MEMORY:
                del self._windows[next(iter(self._windows))]
            shards = order[number * self._window : (number + 1) * self._window]
            loaded = [self._load_shard(int(shard)) for shard in shards]
            examples = np.concatenate([numbers for _, numbers in loaded])
            order = np.arange(len(examples))
            if self._shuffle:
                order = permutation(make_key("window", self._seed, epoch, number), len(examples))
            arrays = {
                name: np.concatenate([arrays[name] for arrays, _ in loaded])[order]
                for name in loaded[0][0]
            }
            self._windows[epoch, number] = arrays, examples[order]
        return self._windows[epoch, number]

    def _load_shard(self, number):
        path, count = self.source.shards[number]
        try:
            frames = read_frames(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        if self.source.layout is None:
            arrays, good = parse_examples(frames, path)
        else:
            arrays, good = self.source.layout.decode(frames.data, frames.offsets, frames.lengths)
            arrays = {name: values[frames.good[good]] for name, values in arrays.items()}
            good &= frames.good
        self._check_ids(arrays, path)
        # Which records of the shard these are; the rest of a shard cut short is missing.
        sound = np.flatnonzero(good[:count])
        if len(sound) < count:
            self._report(path, count, sound, frames.rest)
            # A damaged record's place goes to the next sound one, so that every batch stays full.
            places = np.searchsorted(sound, np.arange(count)) % len(sound)
        else:
            places = np.arange(count)
        arrays = {name: values[places] for name, values in arrays.items()}
        return arrays, self._first_example[number] + sound[places]

    def _check_ids(self, arrays, path):
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

    def _report(self, path, count, sound, rest):
        lost = np.setdiff1d(np.arange(count), sound)
        what = "number " + ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
        damage = Damage(path, len(lost), f"{what}; {rest}" if rest else what)
        if self._on_damage == "raise" or not len(sound):
            raise InputError(str(damage))
        if damage not in self.damages:
            self.damages.append(damage)
            _log.warning("%s; the next sound records stand in for them", damage)

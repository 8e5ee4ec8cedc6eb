"""Training records as what `fit` and `evaluate` of a `BertPretrainer` take."""

import dataclasses
from pathlib import Path

import numpy as np

from tfbert.errors import InputError
from tfbert.records.description import read_dataset
from tfbert.records.masking import Masker
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_records
from tfbert.tasks.batch_sources import untuned

_INPUTS = ("token_ids", "segment_ids", "padding_mask", "mask_positions")


def examples_of(batch):
    """A batch of records as inputs, targets and sample weights.

    Args:
        batch: Dictionary of arrays or tensors, as `PretrainingRecords.batch` gives it.

    Returns:
        (inputs, targets, weights): dictionaries. Inputs have KerasHub's names and
        `mask_positions`; targets and weights those of the outputs, `mlm`, and for pairs `nsp`.
    """
    inputs = {name: batch[name] for name in _INPUTS}
    targets, weights = {"mlm": batch["mask_ids"]}, {"mlm": batch["mask_weights"]}
    if "next_sentence_labels" in batch:
        targets["nsp"] = batch["next_sentence_labels"]
        # Every pair counts 1, and there is at least one token in each.
        weights["nsp"] = np.ones(targets["nsp"].shape, np.float32)
    return inputs, targets, weights


def has_held_out(directory, length):
    """Whether a folder of `tfbert prepare` holds validation examples of that length."""
    shards = read_dataset(directory)["shards"]
    return any(
        shard["examples"]
        for shard in shards
        if (shard["split"], shard["length"]) == ("validation", length)
    )


def open_phase(directory, split, length, predictions=None):
    """The records of one sequence length in a folder of `tfbert prepare`.

    Args:
        directory: The folder.
        split: `train` or `validation`.
        length: Tokens a sequence.
        predictions: Masked positions a sequence; None takes what the records were prepared for.

    Returns:
        `RecordSource`.

    Raises:
        InputError: If there are no such records, or they cannot have so many predictions.
    """
    read_dataset(directory)  # other people's records have no held-out part and no vocabulary
    source = open_records(directory, length, split)
    if predictions is None:
        return source
    masker = source.masker
    if masker is None:
        _, stored = source.layout.features.get("mask_positions", (None, (0,)))
        if stored != (predictions,):
            raise InputError(
                f"{Path(directory)}: its masks are fixed, {stored[0]} a sequence of length "
                f"{length}, not {predictions}: leave predictions out, or prepare with "
                "--masking dynamic"
            )
        return source
    wanted = Masker(
        masker.vocabulary, predictions, masker.fraction, masker.whole_word, masker.ngram
    )
    return dataclasses.replace(source, masker=wanted)


class PretrainingBatches:
    """Batches of training records: a `tfbert.fit.epoch_data.BatchSource`.

    Epochs here are stretches of `steps_per_epoch` updates between two evaluations; the last one may
    be shorter. The records go on through them and begin anew when all were seen.

    Args:
        records: `PretrainingRecords`.
        steps_per_epoch: Updates.
        steps: Updates of all epochs together.
        first_batch: Number of the records' batch that comes first.
    """

    def __init__(self, records, steps_per_epoch, steps, first_batch=0):
        self.records = records
        self.steps_per_epoch = min(steps_per_epoch, steps)
        self.steps = steps
        self.first_batch = first_batch

    @property
    def epochs(self):
        """How many epochs there are."""
        return -(-self.steps // self.steps_per_epoch)

    def steps_in(self, epoch):
        """Updates of an epoch."""
        return min(self.steps_per_epoch, self.steps - epoch * self.steps_per_epoch)

    def dataset(self, epoch, step):
        """All batches from that step of that epoch on, without end.

        Returns:
            A `tf.data.Dataset` of what `examples_of` gives.
        """
        import tensorflow as tf

        first = self.first_batch + epoch * self.steps_per_epoch + step

        def generate():
            number = first
            while True:
                yield examples_of(self.records.batch(number))
                number += 1

        signature = tf.nest.map_structure(
            lambda array: tf.TensorSpec(array.shape, array.dtype),
            examples_of(self.records.batch(first)),
        )
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        return untuned(dataset.prefetch(tf.data.AUTOTUNE))


def held_out_dataset(source, batch_size, sequences):
    """One pass over held-out records, with the same masks each time.

    Args:
        source: `RecordSource` of the split `validation`.
        batch_size: Sequences a batch.
        sequences: Most sequences to take. All batches are full ones, unless there are too few
            sequences for one.

    Returns:
        A `tf.data.Dataset` of what `examples_of` gives.
    """
    import tensorflow as tf

    available = min(sequences, sum(shard.examples for shard in source.shards))
    batch_size = min(batch_size, available)
    records = PretrainingRecords(source, batch_size, shuffle=False)
    batches = [examples_of(records.batch(step)) for step in range(available // batch_size)]
    arrays = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size, drop_remainder=True)
    return untuned(dataset)

"""How batches that are made in Python go through `tf.data` on their way to the devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset without tf.data's autotuning, which has nothing to tune where Python makes batches.

    The tuning thread sleeps longer and longer, up to a minute, and deleting an iterator waits until
    it wakes (TensorFlow 2.20): ten seconds and more an evaluation.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)

"""Floating-point operations of pre-training, for the utilisation of the hardware.

Matrix products only, a multiplication and an addition counted as two; padding counts, as the
hardware computes it. What is recomputed to save memory does not count: these are the model's
operations, not the hardware's (Chowdhery et al. 2022, PaLM, appendix B).
"""

import time
from typing import NamedTuple

BACKWARD = 2  # a product's gradient is two products of its size


class SequenceFlops(NamedTuple):
    """Operations of one forward pass over one sequence.

    Args:
        layer: One encoder layer.
        head: The masked-LM head at the masked positions.
        next_sentence: Pooler and next-sentence head.
    """

    layer: int
    head: int
    next_sentence: int


def sequence_flops(size, vocabulary_size, length, predictions):
    """Operations of one forward pass over one sequence, part by part.

    Args:
        size: `BertSize`.
        vocabulary_size: Word pieces.
        length: Tokens a sequence.
        predictions: Masked positions a sequence.

    Returns:
        `SequenceFlops`.
    """
    width = size.hidden_dim
    projections = 4 * width**2 + 2 * width * size.intermediate_dim  # multiplications a token
    attention = 2 * length * width  # likewise: queries with keys, probabilities with values
    return SequenceFlops(
        layer=2 * length * (projections + attention),
        head=2 * predictions * (width**2 + width * vocabulary_size),
        next_sentence=2 * (width**2 + 2 * width),
    )


class TrainingFlops(NamedTuple):
    """Operations of one update for one sequence.

    Args:
        encoder: All layers, forward, and those that are trained, backward.
        heads: Masked-LM head, pooler and next-sentence head, forward and backward.
    """

    encoder: int
    heads: int

    @property
    def total(self):
        return self.encoder + self.heads


def training_flops(size, vocabulary_size, length, predictions, next_sentence=True, frozen_layers=0):
    """Operations of one update for one sequence: forward 1, backward 2 times.

    Where the embeddings and the lowest layers are frozen, these have no backward pass, the table
    that the masked-LM head shares no gradient, and the lowest trained layer's input none.

    Args:
        size, vocabulary_size, length, predictions: As in `sequence_flops`.
        next_sentence: Whether the model has a next-sentence head.
        frozen_layers: Lowest layers that are frozen; 0 means that the embeddings are not, either.

    Returns:
        `TrainingFlops`.
    """
    parts = sequence_flops(size, vocabulary_size, length, predictions)
    width, trained = size.hidden_dim, size.num_layers - frozen_layers
    encoder = size.num_layers * parts.layer + trained * BACKWARD * parts.layer
    heads = (1 + BACKWARD) * (parts.head + (parts.next_sentence if next_sentence else 0))
    if frozen_layers:
        heads -= 2 * predictions * width * vocabulary_size
        if trained:
            encoder -= 2 * length * 3 * width**2  # queries, keys and values
        else:
            heads -= 2 * predictions * width**2 + (2 * width**2 if next_sentence else 0)
    return TrainingFlops(encoder, heads)


def matmul_peak(dtype, device=None):
    """What one device does at most, measured with a large matrix product.

    Args:
        dtype: `float32`, `bfloat16` or `float16`.
        device: Its name; None takes what TensorFlow would take.

    Returns:
        Operations a second, a float; the best of some products that take a second together.
    """
    import tensorflow as tf

    times = []
    with tf.device(device):
        size = 2_048 if "CPU" in tf.zeros(()).device else 8_192
        matrix = tf.cast(tf.random.normal((size, size)), dtype)
        end = time.perf_counter() + 1.0
        while len(times) < 3 or time.perf_counter() < end:
            began = time.perf_counter()
            # Reading one number waits for the device.
            float(tf.matmul(matrix, matrix)[0, 0])
            times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def matmul_peak_of(strategy, dtype):
    """What all devices of a strategy do at most together: `matmul_peak` times their number.

    Logical devices of a CPU share it, so that they are one on each machine. A TPU is not measured,
    as it is slow at single products that a host asks for.

    Returns:
        Operations a second, a float; None on a TPU.
    """
    import tensorflow as tf

    from tfbert.hardware.strategies import replica_devices

    if isinstance(strategy, tf.distribute.TPUStrategy):
        return None
    here = replica_devices(strategy)
    count = strategy.num_replicas_in_sync
    if "CPU" in here[0]:
        count //= len(here)
    return count * matmul_peak(dtype, here[0])

"""Matrix products of pre-training in floating-point operations, counted for one sequence.

Matrix products only, a multiplication and an addition counted as two; padding counts, as the
hardware computes it. What is recomputed to save memory does not count: these are the model's
operations, not the hardware's (Chowdhery et al. 2022, PaLM, appendix B).
"""

from typing import NamedTuple

from tfbert.models.sizes import BertSize

BACKWARD = 2  # a product's gradient is two products of its size


class TrainingFlops(NamedTuple):
    """Operations of one update for one sequence.

    Args:
        encoder: All layers, forward, and those that are trained, backward.
        heads: Masked-LM head, pooler and next-sentence head, forward and backward.
    """

    encoder: int
    heads: int

    @property
    def total(self) -> int:
        return self.encoder + self.heads


def training_flops(
    size: BertSize,
    vocabulary_size: int,
    length: int,
    predictions: int,
    next_sentence: bool = True,
    frozen_layers: int = 0,
) -> TrainingFlops:
    """Operations of one update for one sequence: once forward, `BACKWARD` times backward.

    Where the embeddings and the lowest layers are frozen, these have no backward pass, the table
    that the masked-LM head shares no gradient, and the lowest trained layer's input none.

    Args:
        length: Tokens a sequence.
        predictions: Masked positions a sequence.
        next_sentence: Whether the model has a next-sentence head.
        frozen_layers: Lowest layers that are frozen; 0 means that the embeddings are not, either.
    """
    width, trained = size.hidden_dim, size.num_layers - frozen_layers
    layer = _layer_flops(size, length)
    head = 2 * predictions * (width**2 + width * vocabulary_size)
    pooler = 2 * (width**2 + 2 * width) if next_sentence else 0  # and next-sentence head
    encoder = (size.num_layers + trained * BACKWARD) * layer
    heads = (1 + BACKWARD) * (head + pooler)
    if frozen_layers:
        heads -= 2 * predictions * width * vocabulary_size
        if trained:
            encoder -= 2 * length * 3 * width**2  # queries, keys and values
        else:
            heads -= 2 * predictions * width**2 + (2 * width**2 if next_sentence else 0)
    return TrainingFlops(encoder, heads)


def forward_flops(size: BertSize, length: int) -> int:
    """Operations of one forward pass of an encoder for one sequence of `length` tokens."""
    return size.num_layers * _layer_flops(size, length)


def _layer_flops(size: BertSize, length: int) -> int:
    """Of one layer, forward."""
    width = size.hidden_dim
    projections = 4 * width**2 + 2 * width * size.intermediate_dim  # multiplications a token
    attention = 2 * length * width  # likewise: queries with keys, probabilities with values
    return 2 * length * (projections + attention)

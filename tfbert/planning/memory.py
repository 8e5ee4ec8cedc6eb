"""Memory of one device in training, by a formula: what stays, and what each sequence adds.

What an encoder layer keeps for its backward pass, in numbers of the width a token: its input,
queries, keys, values, the attention's result, and its sum with the input (6), and the two of the
feed-forward part, each as wide as `intermediate_dim`. Of each head: the probabilities of all pairs
of tokens, and a byte each for their dropout. While a layer's backward pass is computed, the
gradients of all that are there, too. docs/plan.md compares it with what a TPU's compiler counted.
"""

from __future__ import annotations

from typing import NamedTuple

from tfbert.models.sizes import BertSize

_NUMBERS_A_LAYER = 6
_LOGITS = 3  # float32: logits, probabilities, gradient


class DeviceMemory(NamedTuple):
    """Bytes of a device.

    Args:
        weights: Parameters in float32, and their copies in the precision of the arithmetic.
        state: The optimizer's two moments, and with accumulation the sum of the gradients and the
            gradient of a micro-batch.
        sequence: Activations of one sequence that is computed.
    """

    weights: float
    state: float
    sequence: float

    def total(self, sequences: int) -> float:
        """Bytes with so many sequences computed at once."""
        return self.weights + self.state + sequences * self.sequence

    def room(self, memory: float) -> int:
        """The most sequences at once that have room, or 0."""
        return max(0, int((memory - self.weights - self.state) // self.sequence))


def device_memory(
    size: BertSize,
    vocabulary_size: int,
    parameters: int,
    trained: int,
    length: int,
    predictions: int,
    precision: str,
    accumulates: bool,
    frozen_layers: int = 0,
    rematerialize: bool = False,
) -> DeviceMemory:
    """The memory of a phase on one device.

    Args:
        size: Of the model in this phase.
        parameters: All of them.
        trained: Those that are trained in this phase.
        precision: `float32`, `bfloat16` or `float16`.
        accumulates: Whether a batch is computed in several micro-batches.
        frozen_layers: Layers without a backward pass, which keep nothing for it.
        rematerialize: Whether a layer keeps its input alone, and computes the rest again.
    """
    number = 4 if precision == "float32" else 2  # bytes
    tokens = length * size.hidden_dim
    wide = 2 * size.intermediate_dim / size.hidden_dim
    layer = number * tokens * (_NUMBERS_A_LAYER + wide)
    layer += size.num_heads * length**2 * (number + 1)
    layers = size.num_layers - frozen_layers
    kept = layers * number * tokens + layer if rematerialize else layers * layer

    head = predictions * (_LOGITS * 4 * vocabulary_size + 2 * number * size.hidden_dim)
    copies = 0 if precision == "float32" else number
    return DeviceMemory(
        weights=(4 + copies) * parameters,
        # Without accumulation the gradient takes the place of activations that are gone by then.
        state=(8 + 8 * accumulates) * trained,
        sequence=kept + layer + head + 2 * number * tokens,
    )

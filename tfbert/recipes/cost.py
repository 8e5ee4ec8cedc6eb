"""What a pre-training costs before it has run: operations, phase by phase.

A layer's forward pass counts 1 and its backward pass 2; what is frozen has the first alone. To the
matrix products of `tfbert.recipes.flops` this adds the work on single numbers in embeddings and
optimizer, which is little compared with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tfbert.models.sizes import BertSize
from tfbert.recipes.flops import BACKWARD, forward_flops, training_flops
from tfbert.recipes.phases import Phase

if TYPE_CHECKING:
    from tfbert.models.pretrainer import BertPretrainer

# Operations a parameter and update, counted in `AdamMoments.update_rule` with clipping and the
# assignment, and in LAMB's norms.
_OPTIMIZER = {"lamb": 23, "adamw": 17}

# Operations a number that leaves the embeddings: two sums, a layer norm (8) and dropout (2).
_EMBEDDINGS = 12


class UpdateCost(NamedTuple):
    """Operations of one update of the global batch.

    Args:
        encoder: Transformer layers: matrix products.
        heads: Masked-LM head, pooler and next-sentence head, and the map from the student's width
            to a teacher's: matrix products.
        embeddings: Embeddings and their layer norm.
        optimizer: Clipping and the update of all trained parameters.
        teacher: The forward pass of the model that is learned from: matrix products.
    """

    encoder: int
    heads: int
    embeddings: int
    optimizer: int
    teacher: int = 0

    @property
    def products(self) -> int:
        """Operations of the matrix products alone, of which the utilisation is a share."""
        return self.encoder + self.heads + self.teacher

    @property
    def total(self) -> int:
        return sum(self)


@dataclasses.dataclass(frozen=True)
class CostModel:
    """The cost of a phase, by its number of layers and how many of them are frozen.

    Args:
        size: That of the whole model.
        positions, segments: How many the model has embeddings for.
        next_sentence: Whether there is a next-sentence head.
        optimizer: `lamb` or `adamw`.
        masked_lm: Whether there is a masked-LM head.
        teacher: The size of the model that is learned from, if there is one.
    """

    size: BertSize
    vocabulary_size: int
    positions: int
    next_sentence: bool = True
    optimizer: str = "lamb"
    segments: int = 2
    masked_lm: bool = True
    teacher: BertSize | None = None

    @classmethod
    def of(cls, model: BertPretrainer, num_layers: int, optimizer: str = "lamb") -> CostModel:
        """The cost model of a `BertPretrainer`, which may still have to grow to `num_layers`."""
        backbone = model.backbone
        return cls(
            BertSize(
                num_layers, backbone.hidden_dim, backbone.num_heads, backbone.intermediate_dim
            ),
            backbone.vocabulary_size,
            backbone.max_sequence_length,
            model.next_sentence,
            optimizer,
            backbone.num_segments,
            model.mlm_head is not None,
            model.teacher_size,
        )

    def update(self, phase: Phase, predictions: int) -> UpdateCost:
        """The `UpdateCost` of a `Phase` with its `layers` given, for `predictions` a sequence."""
        flops = training_flops(
            dataclasses.replace(self.size, num_layers=phase.num_layers),
            self.vocabulary_size,
            phase.sequence_length,
            predictions,
            self.next_sentence,
            phase.freeze_layers,
        )
        sequences, length = phase.global_batch_size, phase.sequence_length
        passes = 1 if phase.freeze_layers else 1 + BACKWARD
        numbers = length * self.size.hidden_dim
        trained = self.parameters(phase.layers, phase.freeze_layers)
        return UpdateCost(
            encoder=sequences * flops.encoder,
            heads=sequences * (flops.heads + (1 + BACKWARD) * 2 * length * self._projection),
            embeddings=sequences * passes * _EMBEDDINGS * numbers,
            optimizer=_OPTIMIZER[self.optimizer] * trained,
            teacher=0 if self.teacher is None else sequences * forward_flops(self.teacher, length),
        )

    @property
    def _projection(self) -> int:
        """Weights of the map from the student's width to the teacher's, where they differ."""
        if self.teacher is None or self.teacher.hidden_dim == self.size.hidden_dim:
            return 0
        return self.size.hidden_dim * self.teacher.hidden_dim

    def whole_depth(self, phase: Phase, predictions: int) -> UpdateCost:
        """The `UpdateCost` of the same phase with all layers, all of them trained."""
        whole = dataclasses.replace(phase, layers=self.size.num_layers, freeze_layers=0)
        return self.update(whole, predictions)

    def parameters(self, layers: int | None = None, frozen_layers: int = 0) -> int:
        """Trained parameters.

        Args:
            layers: Encoder layers, by default all.
            frozen_layers: How many of them are frozen; if any are, the embeddings are, too.
        """
        width, inner = self.size.hidden_dim, self.size.intermediate_dim
        layers = self.size.num_layers if layers is None else layers
        rows = self.vocabulary_size + self.positions + self.segments
        embeddings = rows * width + 2 * width
        attention = 4 * (width**2 + width)
        layer = attention + 2 * width * inner + inner + width + 4 * width
        heads = width**2 + 3 * width + self.vocabulary_size if self.masked_lm else 0
        if self.next_sentence:
            heads += width**2 + width + 2 * width + 2
        if self.teacher is not None and self._projection:
            heads += self._projection + self.teacher.hidden_dim
        return (0 if frozen_layers else embeddings) + (layers - frozen_layers) * layer + heads


class Forecast(NamedTuple):
    """What is known of a phase before it begins.

    Args:
        whole_depth: Operations of the same updates at full depth, divided by `flops`.
    """

    flops: float
    whole_depth: float


def forecast(
    costs: CostModel, phases: list[Phase], predictions: Sequence[int]
) -> tuple[list[Forecast], Forecast]:
    """A `Forecast` for each phase, and for all of them together.

    Args:
        phases: With their `layers` given.
        predictions: Masked positions a sequence, for each of them.
    """
    here, whole = [], []
    for phase, count in zip(phases, predictions, strict=True):
        here.append(phase.steps * costs.update(phase, count).total)
        whole.append(phase.steps * costs.whole_depth(phase, count).total)
    parts = [Forecast(flops, full / flops) for flops, full in zip(here, whole, strict=True)]
    return parts, Forecast(sum(here), sum(whole) / sum(here))

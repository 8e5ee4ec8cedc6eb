"""A BERT that is pre-trained to have the hidden states of a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import keras

from tfbert.keras_settings import keras_defaults
from tfbert.models.distillation.distances import (
    SENTENCES,
    TOKENS,
    MeanDistance,
    TeacherDistances,
)
from tfbert.models.distillation.teacher import Teacher
from tfbert.models.encoder import BertEncoder
from tfbert.models.pretrainer import BertPretrainer
from tfbert.models.sizes import BertSize

ORIGINAL_IDS = "original_ids"


class DistilledPretrainer(BertPretrainer):
    """A `BertPretrainer` whose loss is (1 - share) * its own + share * the distance from a teacher.

    The distance is the mean of `token_distances` over all real tokens plus the mean of
    `sentence_distances` over the sequences. With a share of 1 there are no heads, which nothing
    would train: inputs are those of the encoder, and their tokens are not masked. With a smaller
    one, inputs and outputs are those of `BertPretrainer` and `original_ids`, (batch, length) int32,
    the tokens before masking: the student reads the masked ones and the teacher the original ones.

    Further outputs: `teacher_tokens` and `teacher_sentences`, see `TeacherDistances`.

    Args:
        student: Its encoder and heads become those of this model.
        teacher: Its weights are none of this model's.
        share: Above 0, at most 1.
    """

    def __init__(
        self, student: BertPretrainer, teacher: Teacher, share: float = 1.0, **kwargs: Any
    ) -> None:
        backbone, predicts = student.backbone, share < 1
        # === Layers ===
        distances = TeacherDistances(teacher, dtype=backbone.dtype_policy, name="teacher_distances")
        mlm_head = student.mlm_head if predicts else None
        nsp_head = student.nsp_head if predicts else None

        # === Functional Model ===
        inputs = dict(backbone.input)
        read_by_teacher = dict(backbone.input)
        encoded = backbone(backbone.input)
        outputs = {}
        if mlm_head is not None:
            inputs["mask_positions"] = keras.Input((None,), dtype="int32", name="mask_positions")
            inputs[ORIGINAL_IDS] = keras.Input((None,), dtype="int32", name=ORIGINAL_IDS)
            read_by_teacher["token_ids"] = inputs[ORIGINAL_IDS]
            outputs["mlm"] = mlm_head(encoded["sequence_output"], inputs["mask_positions"])
        if nsp_head is not None:
            outputs["nsp"] = nsp_head(encoded["pooled_output"])
        outputs |= distances(encoded["sequence_output"], read_by_teacher)
        # Not the constructor of the class above, which would make heads of its own.
        super(BertPretrainer, self).__init__(inputs=inputs, outputs=outputs, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.mlm_head = mlm_head
        self.nsp_head = nsp_head
        self.next_sentence = nsp_head is not None
        self.share = share
        self._get_teacher = lambda: teacher  # in a function, as in `TeacherDistances`
        if nsp_head is None:
            backbone.pooled_dense.trainable = False

    @property
    def teacher(self) -> Teacher:
        return self._get_teacher()

    @property
    def teacher_size(self) -> BertSize:
        return self.teacher.size

    @property
    def outside_variables(self) -> Sequence[keras.Variable]:
        return self.teacher.backbone.variables

    @keras_defaults()
    def pretraining_losses(self) -> dict[str, keras.losses.Loss]:
        """By output, its loss. Targets and weights of the distances are `padding_mask` and ones."""
        losses = super().pretraining_losses()
        for output in (TOKENS, SENTENCES):
            losses[output] = MeanDistance(f"{output}_loss", "mean_with_sample_weight")
        return losses

    @keras_defaults()
    def pretraining_metrics(self) -> dict[str, list[keras.metrics.Metric]]:
        metrics = super().pretraining_metrics()
        return {name: of_output for name, of_output in metrics.items() if name in ("mlm", "nsp")}

    def loss_weights(self) -> dict[str, float]:
        return {
            output: self.share if output in (TOKENS, SENTENCES) else 1 - self.share
            for output in self.output
        }

    def on_encoder(self, backbone: BertEncoder) -> DistilledPretrainer:
        student = BertPretrainer(backbone, self.next_sentence)
        return DistilledPretrainer(student, self.teacher, self.share, name=self.name)

    def get_config(self) -> NoReturn:
        raise NotImplementedError(
            "a model with a teacher is not saved as a whole: save it with save_pretrainer"
        )

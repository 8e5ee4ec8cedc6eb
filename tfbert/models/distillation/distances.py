"""How far a student's hidden states are from its teacher's: token by token, and as sentences."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfbert.models.distillation.teacher import Teacher
from tfbert.models.layers.transformer import bert_initializer
from tfbert.types import Tensor

TOKENS, SENTENCES = "teacher_tokens", "teacher_sentences"  # the layer's outputs
_TINY = 1e-12  # so that nothing is divided by 0


def token_distances(states: Tensor, targets: Tensor) -> Tensor:
    """|s - t|^2 / |t|^2 of each token: 0 for equal states, 1 for those of a student that says 0.

    The squared error of Jiao et al. (2020, TinyBERT, equation 8), as a share of what there is to
    learn, so that it is of order 1 whatever the width and the scale of the teacher.

    Args:
        states, targets: The student's and the teacher's, (batch, length, width) float32.

    Returns:
        (batch, length) float32.
    """
    error = ops.sum(ops.square(states - targets), axis=-1)
    return error / ops.maximum(ops.sum(ops.square(targets), axis=-1), _TINY)


def sentence_distances(states: Tensor, targets: Tensor, padding_mask: Tensor) -> Tensor:
    """1 - cos(s, t) of the means of both over the real tokens, which are the sentence vectors of
    Reimers & Gurevych (2020).

    Args:
        states, targets: As in `token_distances`.
        padding_mask: (batch, length), 1 for real tokens and 0 for padding.

    Returns:
        (batch, 1) float32.
    """
    # Sums in the place of means: the cosine is the same.
    weights = ops.cast(padding_mask, "float32")[:, :, None]
    ours, theirs = ops.sum(states * weights, axis=1), ops.sum(targets * weights, axis=1)

    def product(one: Tensor, other: Tensor) -> Tensor:
        return ops.sum(one * other, axis=-1, keepdims=True)

    norms = ops.sqrt(ops.maximum(product(ours, ours) * product(theirs, theirs), _TINY))
    return 1.0 - product(ours, theirs) / norms


class TeacherDistances(keras.layers.Layer):
    """Both distances of a student's hidden states from those of a teacher.

    Where their widths differ, a trained projection leads from the student's to the teacher's.

    Args:
        teacher: Is used, but its weights are not the layer's: they are neither trained nor saved.
        **kwargs: Of `keras.layers.Layer`. The projection runs in the compute dtype.

    Call arguments:
        states: The student's last hidden states, (batch, length, hidden_dim).
        inputs: `token_ids` without masks, `segment_ids` and `padding_mask`, (batch, length) int32.

    Returns:
        `teacher_tokens`, (batch, length), and `teacher_sentences`, (batch, 1); float32.
    """

    def __init__(self, teacher: Teacher, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # In a function: Keras would track a model that is an attribute.
        self._get_teacher = lambda: teacher
        self.projection: keras.layers.Dense | None = None

    def build(self, states_shape: tuple[int | None, ...]) -> None:
        width = self._get_teacher().backbone.hidden_dim
        if states_shape[-1] != width:
            self.projection = keras.layers.Dense(
                width,
                kernel_initializer=bert_initializer(),
                dtype=self.dtype_policy,
                name="projection",
            )
            self.projection.build(states_shape)

    def call(self, states: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.projection is not None:
            states = self.projection(states)
        states = ops.cast(states, "float32")
        targets = self._get_teacher().hidden_states(**inputs)
        return {
            TOKENS: token_distances(states, targets),
            SENTENCES: sentence_distances(states, targets, inputs["padding_mask"]),
        }

    def compute_output_spec(
        self, states: keras.KerasTensor, inputs: dict[str, keras.KerasTensor]
    ) -> dict[str, keras.KerasTensor]:
        batch, length, _ = states.shape
        return {
            TOKENS: keras.KerasTensor((batch, length), "float32"),
            SENTENCES: keras.KerasTensor((batch, 1), "float32"),
        }


class MeanDistance(keras.losses.Loss):
    """The mean of an output that is a distance already; of the targets, only their shape counts."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred

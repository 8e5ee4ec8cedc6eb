"""Losses and metrics that Keras lacks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfbert.types import Tensor


@keras.saving.register_keras_serializable("tfbert")
class LabelDecisions(keras.losses.Loss):
    """Cross-entropy of yes or no for each label, the mean over all these decisions.

    For a logit x and a target t

        loss = t * log(1 + exp(-x))  if t > 0  else  log(1 + exp(x))

    where t is the weight of the positive decision, 1 without class weights: then it is the binary
    cross-entropy of sigmoid(x). With weights it is `BCEWithLogitsLoss(pos_weight)` of PyTorch.

    Call arguments:
        y_true: (batch, labels) float32: of a label that the text has its weight, else 0.
        y_pred: (batch, labels) float32 logits.
    """

    def __init__(self, name: str = "label_decisions", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        is_there = ops.greater(y_true, 0)
        # log(1 + exp(x)) of the wrong decision's logit, without an overflow.
        loss = ops.softplus(ops.where(is_there, -y_pred, y_pred))
        return ops.mean(ops.where(is_there, y_true * loss, loss), axis=-1)  # (batch,)


@keras.saving.register_keras_serializable("tfbert")
class SubsetAccuracy(keras.metrics.Mean):
    """Share of the texts of which every label is decided right; arguments as `LabelDecisions`."""

    def __init__(self, name: str = "subset_accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> Any:
        is_right = ops.equal(ops.greater(y_true, 0), ops.greater(y_pred, 0))
        return super().update_state(ops.all(is_right, axis=-1), sample_weight)

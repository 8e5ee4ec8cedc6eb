"""The loss of an answer's first and last token, and how often both are right."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfbert")
class SpanLoss(keras.losses.Loss):
    """The mean of the cross-entropies of the first and of the last token (Devlin et al. 2019).

        (- log p_first[start] - log p_last[end]) / 2,   p = softmax over the positions of a row

    Padding is no position: `BertTokenClassifier` has -1e9 there.

    `call` takes (batch, 2) start and end, and (batch, length, 2) logits, and gives (batch,).

    References:
        Devlin et al., BERT, 2019, section 4.2.
    """

    def __init__(self, name: str = "span_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        logits = ops.transpose(y_pred, (0, 2, 1))  # (batch, 2, length)
        losses = ops.sparse_categorical_crossentropy(
            ops.cast(y_true, "int32"), logits, from_logits=True
        )
        return ops.mean(losses, axis=-1)


@keras.saving.register_keras_serializable("tfbert")
class SpanAccuracy(keras.metrics.MeanMetricWrapper):
    """The share of rows whose first and last token are both the most likely ones."""

    def __init__(self, name: str = "span_accuracy", dtype: Any = None) -> None:
        super().__init__(_both_right, name=name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}


def _both_right(y_true: Any, y_pred: Any) -> Any:
    """(batch,) 1 where both are right, else 0."""
    found = ops.argmax(y_pred, axis=1)  # (batch, 2)
    return ops.cast(ops.all(ops.equal(found, ops.cast(y_true, found.dtype)), axis=-1), "float32")

"""A BERT with a linear layer on every token: tags of words, or begins and ends of answers."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub
from keras import ops

from tfbert.fit.trainer import DistributedTrainer
from tfbert.models.layers.dropout import Dropout
from tfbert.models.layers.transformer import bert_initializer

PADDING_LOGIT = -1e9


@keras.saving.register_keras_serializable("tfbert")
class BertTokenClassifier(DistributedTrainer, keras.Model):
    """A linear layer on each token's last vector (Devlin et al. 2019, sections 4.2 and 5.3).

    Outputs are (batch, length, num_classes) float32 logits in any precision of the encoder.
    Those at padding are all -1e9, so that a softmax over the length does not see it. The pooler
    of `backbone` gets no gradient, and becomes untrainable.

    Args:
        backbone: A `BertEncoder` or any `keras_hub.models.BertBackbone`.
        num_classes: Number of tags; 2 for the start and the end of an answer.
        dropout: Rate of the dropout before the linear layer; see `tfbert.models.layers.dropout`.

    Example:

    ```python
    backbone = tfbert.BertEncoder(
        vocabulary_size=100, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    )
    model = tfbert.BertTokenClassifier(backbone, num_classes=5)
    inputs = {name: np.ones((4, 7), "int32") for name in backbone.input}
    logits = model(inputs)  # (4, 7, 5) float32
    ```
    """

    def __init__(
        self,
        backbone: keras_hub.models.BertBackbone,
        num_classes: int,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        output_dense = keras.layers.Dense(
            num_classes, kernel_initializer=bert_initializer(), dtype="float32", name="logits"
        )
        output_dropout = Dropout(dropout, dtype=backbone.dtype_policy, name="classifier_dropout")

        # === Functional Model ===
        sequence = backbone(backbone.input)["sequence_output"]  # (batch, length, hidden_dim)
        logits = output_dense(output_dropout(sequence))  # (batch, length, num_classes)
        is_token = ops.expand_dims(ops.cast(backbone.input["padding_mask"], "bool"), -1)
        outputs = ops.where(is_token, logits, PADDING_LOGIT)
        super().__init__(inputs=backbone.input, outputs=outputs, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.output_dense = output_dense
        self.num_classes = num_classes
        self.dropout = dropout
        backbone.pooled_dense.trainable = False

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BertTokenClassifier:
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})

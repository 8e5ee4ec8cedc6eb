"""A BERT with one output a text: classes, several labels, or a number."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub

from tfbert.fit.trainer import DistributedTrainer
from tfbert.models.layers.transformer import bert_initializer


@keras.saving.register_keras_serializable("tfbert")
class BertClassifier(DistributedTrainer, keras.Model):
    """A linear layer on BERT's pooled [CLS] output (Devlin et al. 2019, section 4.1).

    The only difference from `keras_hub.models.BertTextClassifier`: logits and loss are float32,
    whatever the precision of the encoder.

    Args:
        backbone: A `BertEncoder` or any `keras_hub.models.BertBackbone`.
        num_classes: Number of labels.
        dropout: Rate of the dropout before the linear layer.

    Example:

    ```python
    backbone = tfbert.BertEncoder(
        vocabulary_size=100, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    )
    model = tfbert.BertClassifier(backbone, num_classes=2)
    inputs = {name: np.ones((4, 7), "int32") for name in backbone.input}
    logits = model(inputs)  # (4, 2) float32
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
        # The dense layer first: each draws its seed from Keras' global generator, in this order.
        output_dense = keras.layers.Dense(
            num_classes, kernel_initializer=bert_initializer(), dtype="float32", name="logits"
        )
        output_dropout = keras.layers.Dropout(dropout, dtype="float32", name="classifier_dropout")

        # === Functional Model ===
        pooled = backbone(backbone.input)["pooled_output"]  # (batch, hidden_dim)
        logits = output_dense(output_dropout(pooled))  # (batch, num_classes)
        super().__init__(inputs=backbone.input, outputs=logits, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.output_dense = output_dense
        self.num_classes = num_classes
        self.dropout = dropout

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BertClassifier:
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})

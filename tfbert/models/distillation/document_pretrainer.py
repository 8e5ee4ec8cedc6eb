"""A BERT that is pre-trained to know, from a part of a document, what the rest is about."""

from __future__ import annotations

from typing import Any, NoReturn

import keras

from tfbert.keras_settings import keras_defaults
from tfbert.models.encoder import BertEncoder
from tfbert.models.layers.transformer import bert_initializer
from tfbert.models.pretrainer import BertPretrainer

DOCUMENT = "document"  # the further output


class DocumentPretrainer(BertPretrainer):
    """A `BertPretrainer` that learns the vectors of documents, too, or nothing else.

    A linear layer on the pooled [CLS] output, which next-sentence prediction would train otherwise,
    has the output `document`, (batch, dim) float32. Its target is that of
    `tfbert.text.counting.document_vectors`, its loss the mean squared error, which is about 1 for a
    model that knows nothing. The layer is not saved with the heads.

    Args:
        model: Without next-sentence head; its encoder and masked-LM head become those of this one.
        dim: Width of the vectors.
        share: Share of this loss, above 0; the rest is that of masked tokens. With 1 there is no
            masked-LM head, and the inputs are those of the encoder.
    """

    def __init__(self, model: BertPretrainer, dim: int, share: float, **kwargs: Any) -> None:
        backbone = model.backbone
        # === Layers ===
        mlm_head = model.mlm_head if share < 1 else None
        document_head = keras.layers.Dense(
            dim, kernel_initializer=bert_initializer(), dtype="float32", name="document_head"
        )

        # === Functional Model ===
        inputs = dict(backbone.input)
        encoded = backbone(backbone.input)
        outputs = {DOCUMENT: document_head(encoded["pooled_output"])}
        if mlm_head is not None:
            inputs["mask_positions"] = keras.Input((None,), dtype="int32", name="mask_positions")
            outputs["mlm"] = mlm_head(encoded["sequence_output"], inputs["mask_positions"])
        # Not the constructor of the class above, which would make heads of its own.
        super(BertPretrainer, self).__init__(inputs=inputs, outputs=outputs, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.mlm_head = mlm_head
        self.nsp_head = None
        self.next_sentence = False
        self._document_dim = dim
        self.share = share
        backbone.pooled_dense.trainable = True

    @property
    def document_dim(self) -> int:
        return self._document_dim

    @keras_defaults()
    def pretraining_losses(self) -> dict[str, keras.losses.Loss]:
        losses = super().pretraining_losses()
        losses[DOCUMENT] = keras.losses.MeanSquaredError(
            reduction="mean_with_sample_weight", name=f"{DOCUMENT}_loss"
        )
        return losses

    @keras_defaults()
    def pretraining_metrics(self) -> dict[str, list[keras.metrics.Metric]]:
        metrics = super().pretraining_metrics()
        return {name: of_output for name, of_output in metrics.items() if name != DOCUMENT}

    def loss_weights(self) -> dict[str, float]:
        shares = {DOCUMENT: self.share, "mlm": 1 - self.share}
        return {output: shares[output] for output in self.output}

    def on_encoder(self, backbone: BertEncoder) -> DocumentPretrainer:
        model = BertPretrainer(backbone, next_sentence=False)
        return DocumentPretrainer(model, self.document_dim, self.share, name=self.name)

    def get_config(self) -> NoReturn:
        raise NotImplementedError(
            "a model with a document head is not saved as a whole: save it with save_pretrainer"
        )

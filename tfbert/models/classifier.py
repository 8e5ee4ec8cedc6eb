"""A BERT sentence classifier, and its export as stock KerasHub classes."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import keras
import keras_hub

from tfbert.errors import InputError
from tfbert.fit.trainer import DistributedTrainer
from tfbert.keras_settings import keras_defaults
from tfbert.models.encoder import copy_weights, from_stock, to_stock
from tfbert.models.formats.folder import OpenedModel
from tfbert.models.formats.presets import (
    load_preset,
    read_settings,
    with_settings,
    write_settings,
)
from tfbert.models.layers.transformer import bert_initializer
from tfbert.models.sources import open_source
from tfbert.text.tokenizer import BertTokenizer

log = logging.getLogger("tfbert")

LABELS_FILE = "labels.json"


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


class TrainedClassifier(NamedTuple):
    """A classifier with what is needed to use it on texts."""

    model: BertClassifier
    tokenizer: BertTokenizer
    labels: list[str]
    max_length: int


@keras_defaults()
def save_classifier(classifier: TrainedClassifier, directory: str | os.PathLike) -> None:
    """Writes a KerasHub preset of stock classes, float32, with the labels' names.

    `keras_hub.models.TextClassifier.from_preset(directory)` opens it without this package; it
    returns logits. What a preset cannot hold, as the exact GELU, stands in `tfbert.json` beside it.
    The directory must not exist.
    """
    model = classifier.model
    stock = keras_hub.models.BertTextClassifier(
        backbone=to_stock(model.backbone, dtype="float32"),
        num_classes=model.num_classes,
        dropout=model.dropout,
        preprocessor=keras_hub.models.BertTextClassifierPreprocessor(
            classifier.tokenizer.to_keras_hub(), sequence_length=classifier.max_length
        ),
    )
    copy_weights(model, stock)
    stock.save_to_preset(str(directory))
    write_settings(directory, model.backbone, classifier.tokenizer)
    (Path(directory) / LABELS_FILE).write_text(json.dumps(classifier.labels) + "\n")


def load_classifier(source: str, dtype: str = "float32") -> TrainedClassifier:
    """Opens a classifier that `save_classifier` wrote, or one of another program.

    Args:
        source: A MODEL argument with a classification head: a run directory, a KerasHub preset, a
            `BertForSequenceClassification` of Hugging Face's, Google's fine-tuned checkpoint.
        dtype: Keras dtype policy of the encoder.

    Raises:
        InputError: If there is no such model, or it has no classification head.
    """
    opened = open_source(source)
    if isinstance(opened, OpenedModel):
        return _open_classifier(opened, dtype)
    directory = Path(opened)
    if directory.is_dir() and not (directory / "task.json").exists():
        raise _no_head(source)
    stock = load_preset(keras_hub.models.BertTextClassifier, opened, source, dtype="float32")
    backbone = from_stock(stock.backbone, dtype=dtype, **read_settings(opened)["encoder"])
    model = BertClassifier(backbone, stock.num_classes, dropout=stock.dropout)
    copy_weights(stock, model)
    if stock.preprocessor is None:
        raise InputError(f"model {source}: the preset holds no preprocessor, so no tokenizer")
    return TrainedClassifier(
        model,
        with_settings(stock.preprocessor.tokenizer, opened),
        _read_labels(directory / LABELS_FILE, stock.num_classes),
        stock.preprocessor.sequence_length,
    )


def _open_classifier(opened: OpenedModel, dtype: str) -> TrainedClassifier:
    if not opened.labels:
        raise _no_head(opened.name, opened.why_no_labels)
    backbone = opened.make_encoder(dtype=dtype)
    model = BertClassifier(backbone, len(opened.labels), dropout=opened.head_dropout)
    opened.assign(model.output_dense.weights)
    return TrainedClassifier(model, opened.tokenizer, opened.labels, opened.max_length)


def _no_head(source: str, reason: str = "") -> InputError:
    return InputError(
        f"model {source}: {reason or 'an encoder without a classification head'}; train one with "
        f"`tfbert finetune --model {source}`"
    )


def _read_labels(path, count):
    """The labels' names; their numbers, where the preset has no names."""
    if not path.exists():
        return [str(number) for number in range(count)]
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged: {error}") from error
    if not isinstance(labels, list) or len(labels) != count:
        raise InputError(f"{path}: damaged: the model has {count} labels")
    return labels

"""KerasHub's classifier of raw texts with this package's training and encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from tfbert.errors import InputError
from tfbert.fit.trainer import DistributedTrainer
from tfbert.hardware.strategies import has_one_shape
from tfbert.models.encoder import BertEncoder, copy_weights, to_stock
from tfbert.models.formats.presets import write_settings
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import in_data_unit, load_model
from tfbert.text.tokenizer import BertTokenizer

# Batches are cut to a multiple of it, but to at most 16 lengths: XLA makes a program for each.
_MULTIPLE, _LENGTHS = 8, 16


@keras.saving.register_keras_serializable("tfbert")
class TextClassifier(DistributedTrainer, keras_hub.models.BertTextClassifier):
    """`keras_hub.models.BertTextClassifier`, trained by `DistributedTrainer` on raw texts.

    `fit`, `evaluate` and `predict` take strings: lists, arrays, `tf.data.Dataset`s of batches, or
    a tuple of two of them for pairs of texts; on any number of devices. Without `compile`, it
    trains with KerasHub's defaults. Differences from the stock class: a batch is padded to its
    longest text and no further, which computes the same and is faster; `fit` shuffles arrays
    unless told otherwise. It writes presets of stock classes.

    Args: As in the stock class.

    Example:

    ```python
    model = tfbert.TextClassifier.from_preset("bert_small_en_uncased", num_classes=2)
    model.compile(tfbert.LAMB(1e-3))  # loss and accuracy as in KerasHub
    model.fit(["A lovely film.", "An awful bore."], [1, 0], batch_size=2)
    logits = model.predict(["Not bad at all."])  # (1, 2)
    ```
    """

    # Not the stock backbone: KerasHub's own `from_preset` would open this class for it.
    backbone_cls = BertEncoder

    @classmethod
    def from_preset(
        cls,
        preset: str,
        num_classes: int | None = None,
        sequence_length: int | None = None,
        dtype: str | None = None,
        dropout: float = 0.1,
        activation: Any = None,
        **kwargs: Any,
    ) -> TextClassifier:
        """Opens a model.

        Args:
            preset: What `--model` may name: a KerasHub preset, a Hugging Face folder, a run.
            num_classes: Number of labels, of a new head; None keeps the head of a classifier, or
                of a regression, whose outputs are then in the unit of its data.
            sequence_length: Tokens that texts are cut to; by default those of the classifier, or
                as many as the encoder has positions.
            dtype: Keras dtype policy; by default Keras' own setting.
            dropout: Rate before a new head.
            activation: Of the outputs; None returns logits.
            kwargs: Further arguments of the constructor.

        Raises:
            InputError: If there is no such model, or `num_classes` is None and it has no head on
                texts.
        """
        dtype = dtype or keras.config.dtype_policy().name
        trained = None
        if num_classes is None:
            trained = in_data_unit(load_model(preset, dtype))
            if trained.problem.head != "pooled":
                raise InputError(
                    f"model {preset}: its head, of {trained.problem.name}, is on tokens, not on "
                    "texts: tfbert.load_model opens it; num_classes=2, for example, makes a new one"
                )
            backbone, tokenizer = trained.model.backbone, trained.tokenizer
            num_classes, dropout = trained.model.num_classes, trained.model.dropout
            sequence_length = sequence_length or trained.max_length
        else:
            encoder = load_encoder(preset, dtype)
            backbone, tokenizer = encoder.backbone, encoder.tokenizer
        preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
            tokenizer.to_keras_hub(),
            sequence_length=sequence_length or backbone.max_sequence_length,
        )
        model = cls(
            **{"preprocessor": preprocessor, **kwargs},
            backbone=backbone,
            num_classes=num_classes,
            dropout=dropout,
            activation=activation,
        )
        if trained is not None:
            copy_weights(trained.model, model)
        return model

    def preprocess_samples(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """A batch of texts as word pieces, no longer than its longest text needs."""
        prepared = super().preprocess_samples(x, y, sample_weight)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(prepared)
        if self.preprocessor is not None and not has_one_shape(self.distribute_strategy):
            limit = self.preprocessor.sequence_length
            multiple = _MULTIPLE * -(-limit // (_MULTIPLE * _LENGTHS))
            longest = _longest(x["padding_mask"])
            length = -(-longest // multiple) * multiple
            x = {name: values[..., :length] for name, values in x.items()}
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def save_to_preset(self, preset_dir: str, max_shard_size: float = 10) -> None:
        """Writes a preset of stock classes, float32, which opens without this package."""
        stock = keras_hub.models.BertTextClassifier(
            backbone=to_stock(self.backbone, dtype="float32"),
            num_classes=self.num_classes,
            preprocessor=self.preprocessor,
            activation=self.activation,
            dropout=self.dropout,
        )
        copy_weights(self, stock)
        stock.save_to_preset(str(preset_dir), max_shard_size)
        tokenizer = getattr(self.preprocessor, "tokenizer", None)
        write_settings(
            Path(preset_dir),
            self.backbone,
            tokenizer and BertTokenizer.from_keras_hub(tokenizer, tokenizer.strip_accents),
        )


def _longest(padding_mask: Any) -> Any:
    """Tokens of the longest row, at least 1: an int under JAX, else a scalar int32 tensor."""
    if keras.backend.backend() == "jax":
        return max(1, int(np.sum(padding_mask, axis=-1).max()))
    import tensorflow as tf

    tokens = tf.reduce_sum(tf.cast(padding_mask, tf.int32), axis=-1)
    return tf.maximum(tf.reduce_max(tokens), 1)

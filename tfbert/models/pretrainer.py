"""BERT with its two pre-training tasks, saved as a stock preset with the heads in a file."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from tfbert.errors import InputError
from tfbert.fit.trainer import DistributedTrainer
from tfbert.io.whole import replacing
from tfbert.keras_settings import keras_defaults
from tfbert.models.encoder import BertEncoder, freeze_lower_layers, to_stock
from tfbert.models.formats.folder import OpenedModel
from tfbert.models.formats.presets import write_settings
from tfbert.models.heads import MaskedLMHead
from tfbert.models.layers.transformer import bert_initializer
from tfbert.models.sizes import LAYER_NORM_EPSILON, BertSize
from tfbert.models.sources import encoder_of, open_source
from tfbert.text.tokenizer import BertTokenizer

log = logging.getLogger("tfbert")

HEADS_FILE = "pretraining_heads.npz"


@keras.saving.register_keras_serializable("tfbert")
class BertPretrainer(DistributedTrainer, keras.Model):
    """Masked-token and next-sentence prediction (Devlin et al. 2019, section 3.1).

    Inputs are KerasHub's, `token_ids`, `segment_ids` and `padding_mask`, (batch, length) int32, and
    `mask_positions`, (batch, predictions) int32. Outputs are float32 logits in any precision:
    `mlm`, (batch, predictions, vocabulary), and `nsp`, (batch, 2), where class 1 is a random
    second sentence.

    Args:
        backbone: A `BertEncoder` or `keras_hub.models.BertBackbone`, or a model with its inputs,
            outputs and `token_embedding`.
        next_sentence: Whether there is a next-sentence head. Without one the pooler of `backbone`
            gets no gradient, and becomes untrainable.

    Example:

    ```python
    backbone = tfbert.BertEncoder(
        vocabulary_size=100, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16
    )
    model = tfbert.BertPretrainer(backbone)
    model.compile(
        tfbert.LAMB(1e-3),
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
    )
    inputs = {name: np.ones((4, 7), "int32") for name in backbone.input}
    outputs = model({**inputs, "mask_positions": np.array([[1, 2]] * 4)})
    outputs["mlm"].shape, outputs["nsp"].shape  # (4, 2, 100), (4, 2)
    ```
    """

    def __init__(
        self,
        backbone: keras_hub.models.BertBackbone,
        next_sentence: bool = True,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        mlm_head = MaskedLMHead(
            backbone.token_embedding,
            # KerasHub's encoder has neither: its computation is the default.
            getattr(backbone, "activation", "gelu_tanh"),
            getattr(backbone, "layer_norm_epsilon", LAYER_NORM_EPSILON),
            dtype=backbone.dtype_policy,
            name="mlm_head",
        )
        nsp_head = None
        if next_sentence:
            nsp_head = keras.layers.Dense(
                2, kernel_initializer=bert_initializer(), dtype="float32", name="nsp_head"
            )

        # === Functional Model ===
        mask_positions = keras.Input((None,), dtype="int32", name="mask_positions")
        encoded = backbone(backbone.input)
        outputs = {"mlm": mlm_head(encoded["sequence_output"], mask_positions)}
        if nsp_head is not None:
            outputs["nsp"] = nsp_head(encoded["pooled_output"])
        inputs = {**backbone.input, "mask_positions": mask_positions}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        # === Config ===
        self.backbone = backbone
        self.mlm_head: MaskedLMHead | None = mlm_head
        self.nsp_head = nsp_head
        self.next_sentence = next_sentence
        if not next_sentence:
            backbone.pooled_dense.trainable = False

    @keras_defaults()
    def pretraining_losses(self) -> dict[str, keras.losses.Loss]:
        """By output, its loss: the mean over the predictions of weight 1, and over the examples.

        For `compile(loss=...)`. Targets are the records' `mask_ids` and `next_sentence_labels`,
        sample weights `mask_weights` and 1. Both terms count the same, as in BERT.
        """
        return {
            output: keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight", name=f"{output}_loss"
            )
            for output in self.output
        }

    def loss_weights(self) -> dict[str, float] | None:
        """For `compile(loss_weights=...)`: None, as both terms count 1."""
        return None

    @property
    def teacher_size(self) -> BertSize | None:
        """The size of the model that this one learns from; None without one."""
        return None

    def on_encoder(self, backbone: BertEncoder) -> BertPretrainer:
        """A model of the same kind, with other weights, on another encoder."""
        return type(self)(backbone, self.next_sentence, name=self.name)

    @keras_defaults()
    def pretraining_metrics(self) -> dict[str, list[keras.metrics.Metric]]:
        """By output, the share of predictions that are right; for `weighted_metrics`."""
        return {
            output: [keras.metrics.SparseCategoricalAccuracy("accuracy")] for output in self.output
        }

    def freeze_lower_layers(self, count: int, dropout: bool = True) -> None:
        """Makes the embeddings and the `count` lowest layers untrainable, and all else trainable.

        The masked-LM head's table is the encoder's, and frozen with it; the head's dense layer,
        norm and bias are trained.

        Args:
            count, dropout: As in `tfbert.models.encoder.freeze_lower_layers`.

        Raises:
            InputError: If the encoder has fewer layers.
        """
        # One by one: Keras ignores `backbone.trainable = True` where it is True already.
        for layer in (self.backbone, *self.backbone.layers):
            layer.trainable = True
        self.backbone.pooled_dense.trainable = self.next_sentence
        freeze_lower_layers(self.backbone, count, dropout)

    def heads(self) -> list[keras.layers.Layer]:
        """The layers outside the encoder."""
        return [head for head in (self.mlm_head, self.nsp_head) if head is not None]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "next_sentence": self.next_sentence,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BertPretrainer:
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


def make_pretrainer(
    size: BertSize,
    vocabulary_size: int,
    next_sentence: bool = True,
    dropout: float = 0.1,
    max_sequence_length: int = 512,
    dtype: str = "float32",
    rematerialize: bool = False,
    attention_dropout: float | None = None,
) -> BertPretrainer:
    """A `BertPretrainer` with new weights.

    Args:
        next_sentence: As in `BertPretrainer`.
        dtype: Keras dtype policy, such as `mixed_bfloat16`.
        vocabulary_size, dropout, max_sequence_length, rematerialize, attention_dropout: As in
            `BertEncoder`.
    """
    backbone = BertEncoder(
        vocabulary_size=vocabulary_size,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        hidden_dim=size.hidden_dim,
        intermediate_dim=size.intermediate_dim,
        dropout=dropout,
        max_sequence_length=max_sequence_length,
        rematerialize=rematerialize,
        attention_dropout=attention_dropout,
        dtype=dtype,
    )
    return BertPretrainer(backbone, next_sentence)


def save_pretrainer(
    model: BertPretrainer,
    tokenizer: BertTokenizer,
    directory: str | os.PathLike,
) -> None:
    """Writes a KerasHub preset of stock classes, float32, with the heads' weights in `HEADS_FILE`.

    A model that has no heads, as one that learns from a teacher alone, has no such file.

    `keras_hub.models.BertBackbone.from_preset(directory)` opens it without this package, and so do
    `tfbert finetune --model` and `load_pretrainer`. What a preset cannot hold, as the exact GELU,
    stands in `tfbert.json` beside it.
    """
    to_stock(model.backbone, dtype="float32").save_to_preset(str(directory))
    tokenizer.to_keras_hub().save_to_preset(str(directory))
    write_settings(directory, model.backbone, tokenizer)
    heads = {
        variable.path: keras.ops.convert_to_numpy(variable)
        for head in model.heads()
        for variable in head.weights
    }
    if heads:
        with replacing(Path(directory) / HEADS_FILE) as temporary:
            np.savez(temporary, **heads)


def load_pretrainer(
    source: str,
    dtype: str = "float32",
    next_sentence: bool = True,
    rematerialize: bool = False,
    dropout: float | None = None,
    attention_dropout: float | None = None,
) -> tuple[BertPretrainer, BertTokenizer]:
    """A `BertPretrainer` with existing weights.

    Args:
        source: Any MODEL argument: a run or preset that `save_pretrainer` wrote, or a model of
            another program. Heads that it lacks are new.
        dtype, next_sentence, rematerialize, attention_dropout: As in `make_pretrainer`.
        dropout: Rate of dropout; by default the model's.

    Raises:
        InputError: If there is no such model, or the heads' file is damaged.
    """
    opened = open_source(source)
    encoder = encoder_of(opened, source, dtype, rematerialize, dropout, attention_dropout)
    model = BertPretrainer(encoder.backbone, next_sentence)
    if isinstance(opened, OpenedModel):
        _assign_heads(model, opened)
    elif (Path(opened) / HEADS_FILE).exists():
        _load_heads(model, Path(opened) / HEADS_FILE)
    else:
        log.info("%s has no pre-training heads: new ones are trained", source)
    return model, encoder.tokenizer


def has_masked_lm_head(source: str) -> bool:
    """Whether a MODEL argument has a masked-LM head and no classification head.

    Raises:
        InputError: As `open_source`.
    """
    opened = open_source(source)
    if isinstance(opened, OpenedModel):
        return "masked-LM" in opened.heads and opened.problem is None
    folder = Path(opened)
    return (folder / HEADS_FILE).exists() and not (folder / "task.json").exists()


def _assign_heads(model, opened):
    for head, layer in (("masked-LM", model.mlm_head), ("next-sentence", model.nsp_head)):
        if layer is not None and head in opened.heads:
            opened.assign(layer.weights)
        elif layer is not None:
            log.info("%s has no %s head: a new one is trained", opened.name, head)


def _load_heads(model, path):
    try:
        with np.load(path) as file:
            values = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged: {error}") from error
    for head in model.heads():
        for variable in head.weights:
            value = values.get(variable.path)
            if value is None and head is model.nsp_head:
                log.info("%s has no next-sentence head: a new one is trained", path)
                break
            if value is None or value.shape != variable.shape:
                raise InputError(f"{path}: damaged: {variable.path} is missing or misshapen")
            variable.assign(value)

"""A folder that Hugging Face's transformers opens with `AutoModelFor...` and `pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
from safetensors.numpy import save

from tfbert.errors import InputError
from tfbert.io.whole import write_bytes, write_json
from tfbert.models.classifier import TrainedClassifier
from tfbert.models.encoder import BertEncoder, weights_by_path
from tfbert.models.exports.tokenizer_files import write_tokenizer, write_transformers_settings
from tfbert.models.formats.huggingface_names import huggingface_name, to_huggingface
from tfbert.models.pretrainer import BertPretrainer
from tfbert.models.sources import Encoder
from tfbert.text.tokenizer import BertTokenizer

WEIGHTS_FILE = "model.safetensors"
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
_HIDDEN_ACT = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}


def write_classifier(classifier: TrainedClassifier, folder: Path, dtype: str = "float32") -> None:
    """Writes a `BertForSequenceClassification` with the labels' names.

    Args:
        folder: A folder that is there.
        dtype: A key of `DTYPES`, of the weights.

    Raises:
        InputError: If a weight is too large for the dtype.
    """
    labels = dict(enumerate(classifier.labels))
    config = {
        "id2label": {str(number): label for number, label in labels.items()},
        "label2id": {label: number for number, label in labels.items()},
        "classifier_dropout": classifier.model.dropout,
        "problem_type": "single_label_classification",
    }
    _write(
        classifier.model,
        classifier.model.backbone,
        classifier.tokenizer,
        folder,
        dtype,
        architecture="BertForSequenceClassification",
        max_length=classifier.max_length,
        **config,
    )


def write_pretrainer(
    model: BertPretrainer, tokenizer: BertTokenizer, folder: Path, dtype: str = "float32"
) -> None:
    """Writes a `BertForPreTraining`, or a `BertForMaskedLM` where there is no next-sentence head.

    Arguments and errors are those of `write_classifier`.
    """
    architecture = "BertForPreTraining" if model.next_sentence else "BertForMaskedLM"
    _write(model, model.backbone, tokenizer, folder, dtype, architecture)


def write_encoder(encoder: Encoder, folder: Path, dtype: str = "float32") -> None:
    """Writes a `BertModel`; arguments and errors are those of `write_classifier`."""
    _write(encoder.backbone, encoder.backbone, encoder.tokenizer, folder, dtype, "BertModel")


def _write(
    model: keras.Model,
    encoder: BertEncoder,
    tokenizer: BertTokenizer,
    folder: Path,
    dtype: str,
    architecture: str,
    max_length: int | None = None,
    **config: Any,
) -> None:
    weights = {
        huggingface_name(path): _cast(path, keras.ops.convert_to_numpy(variable), dtype)
        for path, variable in weights_by_path(model).items()
    }
    if model is encoder:
        weights = {name.removeprefix("bert."): value for name, value in weights.items()}
    write_bytes(folder / WEIGHTS_FILE, save(weights, metadata={"format": "pt"}))
    write_json(
        folder / "config.json", {**_config(encoder, tokenizer, architecture, dtype), **config}
    )
    write_tokenizer(tokenizer, folder)
    write_transformers_settings(tokenizer, folder, max_length or encoder.max_sequence_length)


def _cast(path: str, value: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = to_huggingface(path, value).astype(DTYPES[dtype])
    if np.isinf(cast.astype(np.float32)).any() and np.isfinite(value).all():
        raise InputError(
            f"--dtype {dtype}: the weight {path} has a value of {np.abs(value).max():g}, which is "
            "beyond its range; take bfloat16 or float32"
        )
    return cast


def _config(
    encoder: BertEncoder, tokenizer: BertTokenizer, architecture: str, dtype: str
) -> dict[str, Any]:
    """The content of `config.json` that all architectures share."""
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "vocab_size": encoder.vocabulary_size,
        "hidden_size": encoder.hidden_dim,
        "num_hidden_layers": encoder.num_layers,
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": encoder.intermediate_dim,
        "hidden_act": _HIDDEN_ACT[encoder.activation],
        "hidden_dropout_prob": encoder.dropout,
        "attention_probs_dropout_prob": encoder.dropout,
        "max_position_embeddings": encoder.max_sequence_length,
        "type_vocab_size": encoder.num_segments,
        "initializer_range": 0.02,
        "layer_norm_eps": encoder.layer_norm_epsilon,
        "pad_token_id": tokenizer.pad_token_id,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "dtype": dtype,
        "torch_dtype": dtype,  # what transformers called it before version 5
    }

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
from tfbert.models.encoder import BertEncoder, weights_by_path
from tfbert.models.exports.tokenizer_files import write_tokenizer, write_transformers_settings
from tfbert.models.formats.huggingface_names import (
    SPAN_HEAD,
    huggingface_name,
    to_huggingface,
)
from tfbert.models.formats.stored_weights import POOLER
from tfbert.models.pretrainer import BertPretrainer
from tfbert.models.sources import Encoder
from tfbert.models.trained_model import TrainedModel
from tfbert.text.tokenizer import BertTokenizer

WEIGHTS_FILE = "model.safetensors"
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
_WITHOUT_POOLER = {"BertForTokenClassification", "BertForQuestionAnswering"}
_HIDDEN_ACT = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}


# By the name of a problem; others are written by where their head is.
_ARCHITECTURES = {"tagging": "BertForTokenClassification", "span": "BertForQuestionAnswering"}
_PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}


def write_trained(trained: TrainedModel, folder: Path, dtype: str = "float32") -> None:
    """Writes a `BertForSequenceClassification` with the labels' names and the type of the problem.

    Of a head on tokens, a `BertForTokenClassification` or `BertForQuestionAnswering`. The outputs
    of a regression are those of the head: see `trained.in_data_unit`.

    Args:
        folder: A folder that is there.
        dtype: A key of `DTYPES`, of the weights.

    Raises:
        InputError: If a weight is too large for the dtype.
    """
    problem = trained.problem
    is_pooled = problem.head == "pooled"
    usual = "BertForSequenceClassification" if is_pooled else "BertForTokenClassification"
    architecture = _ARCHITECTURES.get(problem.name, usual)
    config: dict[str, Any] = {"classifier_dropout": trained.model.dropout}
    if architecture != "BertForQuestionAnswering":
        labels = problem.labels or [f"LABEL_{number}" for number in range(problem.outputs)]
        config["id2label"] = {str(number): label for number, label in enumerate(labels)}
        config["label2id"] = {label: number for number, label in enumerate(labels)}
    if problem.name in _PROBLEM_TYPES:
        config["problem_type"] = _PROBLEM_TYPES[problem.name]
    _write(
        trained.model,
        trained.model.backbone,
        trained.tokenizer,
        folder,
        dtype,
        architecture=architecture,
        max_length=trained.max_length,
        **config,
    )


def write_pretrainer(
    model: BertPretrainer, tokenizer: BertTokenizer, folder: Path, dtype: str = "float32"
) -> None:
    """Writes a `BertForPreTraining`, or a `BertForMaskedLM` where there is no next-sentence head.

    Arguments and errors are those of `write_trained`.
    """
    architecture = "BertForPreTraining" if model.next_sentence else "BertForMaskedLM"
    _write(model, model.backbone, tokenizer, folder, dtype, architecture)


def write_encoder(encoder: Encoder, folder: Path, dtype: str = "float32") -> None:
    """Writes a `BertModel`; arguments and errors are those of `write_trained`."""
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
        if architecture not in _WITHOUT_POOLER or path not in POOLER
    }
    if architecture == "BertForQuestionAnswering":
        weights = {name.replace("classifier.", f"{SPAN_HEAD}."): v for name, v in weights.items()}
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

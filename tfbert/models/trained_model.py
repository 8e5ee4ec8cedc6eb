"""A fine-tuned BERT with all that is needed to use it on texts: saved as a preset, and opened."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from typing import NamedTuple, TypeAlias

import keras
import keras_hub
import numpy as np

from tfbert.errors import InputError, first_line
from tfbert.io.whole import read_json, replacing, write_json
from tfbert.keras_settings import keras_defaults
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import BertEncoder, copy_weights, from_stock, to_stock
from tfbert.models.formats.folder import OpenedModel
from tfbert.models.formats.presets import (
    load_preset,
    load_tokenizer,
    read_settings,
    with_settings,
    write_settings,
)
from tfbert.models.sources import open_source
from tfbert.models.token_classifier import BertTokenClassifier
from tfbert.tasks.known_problems import PROBLEM_FILE, read_problem
from tfbert.tasks.problem import Problem
from tfbert.tasks.problems.classification import Classification
from tfbert.tasks.problems.regression import Regression
from tfbert.text.tokenizer import BertTokenizer

LABELS_FILE = "labels.json"  # of older runs, which have no other file: the names of classes
HEAD_FILE = "task_head.npz"  # of heads on tokens, for which KerasHub has no class

HeadedModel: TypeAlias = BertClassifier | BertTokenClassifier


class TrainedModel(NamedTuple):
    """A model with a head, and what is needed to use it on texts.

    Args:
        max_length: Most tokens of a row, special ones included.
    """

    model: HeadedModel
    tokenizer: BertTokenizer
    problem: Problem
    max_length: int

    @property
    def labels(self) -> list[str]:
        """Names of the head's outputs."""
        return self.problem.labels


def make_model(
    backbone: keras_hub.models.BertBackbone, problem: Problem, dropout: float | None = None
) -> HeadedModel:
    """A model with a new head for a problem; the dropout before it is the problem's by default."""
    model_class = BertTokenClassifier if problem.head == "tokens" else BertClassifier
    rate = problem.head_dropout if dropout is None else dropout
    return model_class(backbone, problem.outputs, rate)


@keras_defaults()
def save_model(trained: TrainedModel, directory: str | os.PathLike) -> None:
    """Writes a KerasHub preset of stock classes, float32, and what is asked of its texts.

    `keras_hub.models.TextClassifier.from_preset(directory)` opens it without this package; it
    returns logits. Of a model with a head on tokens, the preset is that of its encoder,
    `keras_hub.models.BertBackbone`, and `task_head.npz` has the head's weights. What a preset
    cannot hold, as the exact GELU, stands in `tfbert.json` beside it, the problem in
    `problem.json`. The directory must not exist.
    """
    model = trained.model
    if isinstance(model, BertTokenClassifier):
        to_stock(model.backbone, dtype="float32").save_to_preset(str(directory))
        trained.tokenizer.to_keras_hub().save_to_preset(str(directory))
        _write_head(trained, Path(directory) / HEAD_FILE)
    else:
        _save_classifier(trained, directory)
    write_settings(directory, model.backbone, trained.tokenizer)
    write_json(Path(directory) / PROBLEM_FILE, trained.problem.config())


def _save_classifier(trained, directory):
    model = trained.model
    stock = keras_hub.models.BertTextClassifier(
        backbone=to_stock(model.backbone, dtype="float32"),
        num_classes=model.num_classes,
        dropout=model.dropout,
        preprocessor=keras_hub.models.BertTextClassifierPreprocessor(
            trained.tokenizer.to_keras_hub(), sequence_length=trained.max_length
        ),
    )
    copy_weights(model, stock)
    stock.save_to_preset(str(directory))


def load_model(source: str, dtype: str = "float32") -> TrainedModel:
    """Opens a model that `save_model` wrote, or one of another program.

    Args:
        source: A MODEL argument with a head: a run directory, a KerasHub preset, a
            `BertForSequenceClassification`, `BertForTokenClassification` or
            `BertForQuestionAnswering` of Hugging Face's, Google's fine-tuned checkpoint.
        dtype: Keras dtype policy of the encoder.

    Raises:
        InputError: If there is no such model, or it has no head.
    """
    opened = open_source(source)
    if isinstance(opened, OpenedModel):
        return _open_foreign(opened, dtype)
    directory = Path(opened)
    if (directory / HEAD_FILE).exists():
        return _load_token_classifier(directory, source, dtype)
    if directory.is_dir() and not (directory / "task.json").exists():
        raise _no_head(source)
    stock = load_preset(keras_hub.models.BertTextClassifier, opened, source, dtype="float32")
    backbone = from_stock(stock.backbone, dtype=dtype, **read_settings(opened)["encoder"])
    model = BertClassifier(backbone, stock.num_classes, dropout=stock.dropout)
    copy_weights(stock, model)
    if stock.preprocessor is None:
        raise InputError(f"model {source}: the preset holds no preprocessor, so no tokenizer")
    return TrainedModel(
        model,
        with_settings(stock.preprocessor.tokenizer, opened),
        _read_problem(directory, stock.num_classes),
        stock.preprocessor.sequence_length,
    )


def in_data_unit(trained: TrainedModel) -> TrainedModel:
    """The model whose head itself gives numbers in the data's unit, where it gives numbers.

    For programs that know nothing of the mean and the deviation in a regression's `problem.json`.
    Changes the model's weights.
    """
    problem = trained.problem
    if not isinstance(problem, Regression):
        return trained
    head = trained.model.output_dense
    head.kernel.assign(head.kernel * problem.deviation)
    head.bias.assign(head.bias * problem.deviation + problem.mean)
    return trained._replace(problem=dataclasses.replace(problem, mean=0.0, deviation=1.0))


def _open_foreign(opened: OpenedModel, dtype: str) -> TrainedModel:
    problem = opened.problem
    if problem is None:
        raise _no_head(opened.name, opened.why_no_problem)
    has_pooler = problem.head == "pooled"
    backbone = (opened.make_encoder if has_pooler else opened.make_token_encoder)(dtype=dtype)
    model = make_model(backbone, problem, opened.head_dropout)
    opened.assign(model.output_dense.weights)
    return TrainedModel(model, opened.tokenizer, problem, opened.max_length)


def _no_head(source: str, reason: str = "") -> InputError:
    return InputError(
        f"model {source}: {reason or 'an encoder without a classification head'}; train one with "
        f"`tfbert finetune --model {source}`"
    )


def _write_head(trained: TrainedModel, path: Path) -> None:
    """Writes what the encoder's preset lacks: the head's weights, and numbers of the model."""
    arrays = {
        variable.path: keras.ops.convert_to_numpy(variable)
        for variable in trained.model.output_dense.weights
    }
    arrays["dropout"] = np.array(trained.model.dropout)
    arrays["max_length"] = np.array(trained.max_length)
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def _load_token_classifier(directory: Path, source: str, dtype: str) -> TrainedModel:
    path = directory / HEAD_FILE
    try:
        with np.load(path) as file:
            arrays = dict(file)
        dropout, max_length = float(arrays["dropout"]), int(arrays["max_length"])
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged: {first_line(error)}") from error
    problem = read_problem(directory)
    if problem is None:
        raise InputError(f"model {source}: no {PROBLEM_FILE} in it, which says what it answers")
    model = BertTokenClassifier(
        load_preset(BertEncoder, str(directory), source, dtype=dtype), problem.outputs, dropout
    )
    for variable in model.output_dense.weights:
        value = arrays.get(variable.path)
        if value is None or value.shape != tuple(variable.shape):
            raise InputError(f"{path}: damaged: {variable.path} is missing or misshapen")
        variable.assign(value)
    return TrainedModel(model, load_tokenizer(str(directory), source), problem, max_length)


def _read_problem(directory: Path, outputs: int) -> Problem:
    """The problem of a preset; classes that are numbers, where it has no names for them."""
    problem = read_problem(directory)
    path = directory / (LABELS_FILE if problem is None else PROBLEM_FILE)
    if problem is None:
        labels = [str(number) for number in range(outputs)]
        if path.exists():
            labels = read_json(path)
        if not isinstance(labels, list):
            raise InputError(f"{path}: damaged: it holds no list of labels")
        problem = Classification(labels, "accuracy")
    if problem.outputs != outputs:
        raise InputError(
            f"{path}: damaged: the model has {outputs} outputs, and it says {problem.outputs}"
        )
    return problem

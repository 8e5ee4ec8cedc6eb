"""A model folder of another program, opened: its encoder, its tokenizer and its heads."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.errors import InputError
from tfbert.io.whole import read_json
from tfbert.models.formats.configuration import SIZE_KEYS, encoder_arguments, head_dropout
from tfbert.models.formats.forms import Form, form_of, weights_file
from tfbert.models.formats.keras_h5 import read_keras_h5
from tfbert.models.formats.safetensors_files import read_safetensors
from tfbert.models.formats.stored_weights import (
    HEADS,
    POOLER,
    TASK_HEAD,
    StoredWeights,
    encoder_shapes,
)
from tfbert.models.formats.tensorflow_checkpoints import checkpoint_prefix, read_checkpoint
from tfbert.models.formats.tokenizer_files import (
    longest_text,
    read_plain_vocabulary,
    read_tokenizer,
)
from tfbert.tasks.known_problems import PROBLEMS
from tfbert.tasks.problem import Problem
from tfbert.tasks.tags.entities import is_tagging_of_entities
from tfbert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    import keras

    from tfbert.models.encoder import BertEncoder

log = logging.getLogger("tfbert")

# Hugging Face's classes whose heads this package has.
_KNOWN_HEADS = {
    *("Model", "ForPreTraining", "ForMaskedLM", "LMHeadModel", "ForNextSentencePrediction"),
    *("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"),
}


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A model of another program; its weights are read when they are assigned.

    Args:
        name: What the user calls it, for messages.
        arguments: Of the `BertEncoder` that computes the same.
        weights: All of them, heads included.
        tokenizer: The model's own.
        heads: Keys of `HEADS`: those that are there and that this package has.
        problem: What the model was fine-tuned for, which its head answers; None if for nothing.
        max_length: Tokens that a text may have.
        head_dropout: Rate of the dropout before that head.
        why_no_problem: What its head is instead, for messages; empty if there is none.
    """

    name: str
    arguments: Mapping[str, Any]
    weights: StoredWeights
    tokenizer: BertTokenizer
    heads: frozenset[str]
    problem: Problem | None
    max_length: int
    head_dropout: float
    why_no_problem: str = ""

    def make_encoder(self, **options: Any) -> BertEncoder:
        """The encoder with its weights.

        Args:
            **options: Of `BertEncoder`, such as `dtype`; they go before the model's own.
        """
        if not self.weights.has(POOLER):
            log.info("%s has no pooler: it gets a new one", self.name)
        return self._make_encoder(options)

    def make_token_encoder(self, **options: Any) -> BertEncoder:
        """The same where its pooler is not used."""
        return self._make_encoder(options)

    def _make_encoder(self, options):
        from tfbert.models.encoder import BertEncoder, weights_by_path
        from tfbert.models.layers.self_attention import weights_follow

        has_all = self.weights.has(POOLER)
        with weights_follow() if has_all else contextlib.nullcontext():
            encoder = BertEncoder(**{**self.arguments, **options})
        variables = weights_by_path(encoder)
        if not has_all:
            variables = {path: v for path, v in variables.items() if path not in POOLER}
        self.assign(variables.values())
        return encoder

    def assign(self, variables: Iterable[keras.Variable]) -> None:
        """Gives variables the values that the file has for their paths.

        Raises:
            InputError: If one is missing or misshapen.
        """
        for variable in variables:
            variable.assign(self.weights.value(variable.path, tuple(variable.shape)))


def check_folder(folder: Path, name: str) -> Form:
    """What can be checked before TensorFlow starts: the form, and what the configuration says.

    Args:
        folder: A local folder.
        name: What the user calls the model.

    Raises:
        InputError: If it is not a model that is read.
    """
    form = form_of(_file_names(folder), f"model {name}")
    if form == "preset":
        if not (folder / "config.json").exists():
            raise InputError(f"model {name}: no config.json in it, so it is not a model")
    else:
        _read_arguments(folder, form, name)
    return form


def size_arguments(folder: Path, name: str) -> dict[str, int]:
    """What the configuration of a model says of the encoder's size; arguments and errors as in
    `check_folder`.

    Returns:
        Arguments of `BertEncoder`: numbers of layers, heads, word pieces, positions and segments,
        and both widths.
    """
    form = check_folder(folder, name)
    if form == "preset":
        content = read_json(folder / "config.json")
        found = content.get("config") if isinstance(content, dict) else None
    else:
        _, _, found = _read_arguments(folder, form, name)
    if not isinstance(found, dict) or not all(type(found.get(key)) is int for key in SIZE_KEYS):
        raise InputError(
            f"{folder / 'config.json'}: damaged: it does not say how large the BERT is"
        )
    return {key: found[key] for key in SIZE_KEYS}


def open_folder(folder: Path, name: str, prefix: Path | None = None) -> OpenedModel:
    """Opens a model folder that is not a KerasHub preset.

    Args:
        folder: A local folder.
        name: What the user calls the model, for messages.
        prefix: Path of the checkpoint, of several in the folder.

    Raises:
        InputError: If it is damaged or incomplete, or computes something else than BERT.
    """
    files = _file_names(folder)
    form = form_of(files, f"model {name}")
    config_path, config, arguments = _read_arguments(folder, form, name)
    if form == "checkpoint":
        tokenizer = read_plain_vocabulary(folder, name)
        prefix = prefix or checkpoint_prefix(folder, files)
        weights = read_checkpoint(prefix, arguments["num_layers"])
    else:
        tokenizer = read_tokenizer(folder, name)
        if form == "keras_h5":
            weights = read_keras_h5(folder / "tf_model.h5")
        else:
            weights = read_safetensors(folder / str(weights_file(files)))
    _check_rows(folder, tokenizer, arguments)
    weights.check(encoder_shapes(arguments, pooler=weights.has(POOLER)))
    deeper = f"transformer_layer_{arguments['num_layers']}/feedforward_output_dense/kernel"
    if weights.has([deeper]):
        log.info("%s: only the first %d layers are taken", name, arguments["num_layers"])
    problem, why_not = _problem(form, config, weights)
    heads = {head for head, paths in HEADS.items() if weights.has(paths)}
    if problem is None:
        heads -= {TASK_HEAD}
    if config.get("tie_word_embeddings") is False and "masked-LM" in heads:
        heads -= {"masked-LM"}
        log.info("%s: its masked-LM head has a table of its own: it is left out", name)
    if why_not:
        log.info("%s: %s: it is left out, and the encoder is taken", name, why_not)
    rate = config.get("attention_probs_dropout_prob", arguments["dropout"])
    if rate != arguments["dropout"]:
        log.info(
            "%s: dropout on attention has the rate of the rest, %s; the model's own, %s, is taken "
            "where --attention-dropout says so",
            *(name, arguments["dropout"], rate),
        )
    return OpenedModel(
        name=name,
        arguments=arguments,
        weights=weights,
        tokenizer=tokenizer,
        heads=frozenset(heads),
        problem=problem,
        max_length=longest_text(folder, arguments["max_sequence_length"]),
        head_dropout=head_dropout(config, config_path),
        why_no_problem=why_not,
    )


def _file_names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.is_file()}


def _read_arguments(folder, form, name):
    """(path of the configuration, its content, arguments of the encoder)."""
    names = ["config.json"] if form != "checkpoint" else ["bert_config.json", "config.json"]
    path = next((folder / file for file in names if (folder / file).exists()), None)
    if path is None:
        raise InputError(f"model {name}: no {names[0]} in it, so it is not a model")
    config = read_json(path)
    if form != "checkpoint":
        return path, config, encoder_arguments(config, path)
    # Google's code and Model Garden's compute `gelu` by tanh.
    return path, config, encoder_arguments(config, path, gelu="gelu_tanh", num_segments=16)


def _check_rows(folder, tokenizer, arguments):
    pieces, rows = len(tokenizer.vocabulary), arguments["vocabulary_size"]
    if pieces > rows:
        raise InputError(
            f"model {folder}: its vocabulary has {pieces} word pieces, and its table of embeddings "
            f"{rows} rows (vocab_size): they do not belong together"
        )


def _problem(form, config, weights):
    """(what the head answers, or None; why None where there is a head)."""
    kinds = config.get("architectures")
    kind = str(kinds[0]).removeprefix("TF") if isinstance(kinds, list) and kinds else ""
    kind = kind.removeprefix("Bert")
    if kind and kind not in _KNOWN_HEADS:
        return None, f"its head, of a Bert{kind}, is of a kind that tfbert does not have"
    name = weights.name_of("logits/kernel")
    if not kind and name is not None:
        if "squad" in name or "qa_outputs" in name:
            kind = "ForQuestionAnswering"
        elif weights.has(POOLER):
            kind = "ForSequenceClassification"
    if name is None or kind not in _MAKERS:
        return None, ""
    shape = weights.shapes[name]
    if len(shape) != 2:
        return None, f"{name} is no matrix, so it is not a head"
    count = shape[0] if weights.is_transposed("logits/kernel") else shape[-1]
    try:
        return _MAKERS[kind](config, count, is_named=form != "checkpoint"), ""
    except ValueError as error:
        return None, str(error)


def _problem_of_texts(config, count, is_named):
    if is_named and config.get("problem_type") == "multi_label_classification":
        return PROBLEMS["multilabel"](_labels(config, count), "macro_f1")
    if count == 1:
        return PROBLEMS["regression"]([], "pearson")
    labels = _labels(config, count) if is_named else [str(number) for number in range(count)]
    return PROBLEMS["classification"](labels, "accuracy")


def _problem_of_words(config, count, is_named):
    labels = _labels(config, count)
    return PROBLEMS["tagging"](labels, "f1" if is_tagging_of_entities(labels) else "accuracy")


def _problem_of_passages(config, count, is_named):
    if count != 2:
        raise ValueError(f"its head has {count} outputs a token, where begin and end are 2")
    return PROBLEMS["span"](["start", "end"], "f1", True)


# By Hugging Face's class, what its head answers.
_MAKERS = {
    "ForSequenceClassification": _problem_of_texts,
    "ForTokenClassification": _problem_of_words,
    "ForQuestionAnswering": _problem_of_passages,
}


def _labels(config, count):
    """Names of the outputs, in their order; ValueError where they are not told apart."""
    names = config.get("id2label") or {str(n): f"LABEL_{n}" for n in range(count)}
    if not isinstance(names, dict) or set(names) != set(map(str, range(count))):
        raise ValueError(f"id2label in config.json does not name the {count} classes of its head")
    labels = [str(names[str(number)]) for number in range(count)]
    if len(set(labels)) < count:
        raise ValueError("id2label in config.json gives two classes of its head one name")
    return labels

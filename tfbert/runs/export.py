"""`tfbert export`: a trained model in another program's form."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tfbert.errors import InputError
from tfbert.hardware.strategies import backend
from tfbert.io.paths import as_path, exists, is_remote
from tfbert.io.whole import read_json, replacing, saving, write_bytes, write_json
from tfbert.models.exports.model_card import model_card
from tfbert.models.exports.tokenizer_files import write_tokenizer
from tfbert.models.exports.trained import Pretrained, Trained, load_trained
from tfbert.models.sources import Encoder
from tfbert.models.trained_model import LABELS_FILE, TrainedModel
from tfbert.options import RUN_RECORD_KEYS
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.export_options import MAIN_FILES, ExportConfig, check_export
from tfbert.runs.outputs.run_directory import size_in_bytes
from tfbert.runs.starting import require_backend
from tfbert.tasks.known_problems import PROBLEM_FILE

log = logging.getLogger("tfbert")


def export(config: ExportConfig) -> None:
    """Writes a model in another program's form: the whole folder, or nothing.

    Raises:
        InputError: If the model, an option or the output folder is wrong, or a package is missing.
        MachineError: If it cannot be written.
    """
    check_export(config)
    require_backend(config.backend)
    if config.format != "huggingface" and backend() != "tensorflow":
        raise InputError(
            f"--format {config.format} is written by TensorFlow, and Keras runs on {backend()}: "
            "give --backend tensorflow, or from Python set KERAS_BACKEND=tensorflow"
        )
    output = as_path(config.output)
    if not is_remote(output):
        output = output.resolve()  # a link to a folder stays, and what it leads to is replaced
    model = load_trained(config.model)
    keras_model = model.backbone if isinstance(model, Encoder) else model.model
    with saving(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    with saving(output, size_in_bytes(keras_model.variables)), replacing(output) as temporary:
        temporary.mkdir()
        _WRITERS[config.format](model, temporary, config)


def _huggingface(model: Trained, folder: Path, config: ExportConfig) -> None:
    from tfbert.models.exports import huggingface

    if isinstance(model, TrainedModel):
        huggingface.write_trained(model, folder, config.dtype)
    elif isinstance(model, Pretrained):
        huggingface.write_pretrainer(model.model, model.tokenizer, folder, config.dtype)
    else:
        huggingface.write_encoder(model, folder, config.dtype)
    record, metrics = _run_of(config.model)
    card = model_card(
        as_path(config.model).name,
        read_json(folder / "config.json"),
        record,
        metrics,
        _command(config),
    )
    write_bytes(folder / "README.md", card.encode())


def _savedmodel(model: Trained, folder: Path, config: ExportConfig) -> None:
    from tfbert.models.exports.savedmodel import write_savedmodel

    if not isinstance(model, TrainedModel):
        raise InputError(
            f"--format savedmodel labels texts, and model {config.model} has no classification "
            f"head; train one with `tfbert finetune --model {config.model}`"
        )
    if model.problem.head == "tokens":
        raise InputError(
            f"--format savedmodel answers whole texts, and model {config.model} each token of "
            "them: huggingface, onnx and litert take its token ids"
        )
    write_savedmodel(model, folder)


def _file(model: Trained, folder: Path, config: ExportConfig) -> None:
    """ONNX or LiteRT."""
    from tfbert.models.exports.litert import write_litert
    from tfbert.models.exports.onnx import write_onnx
    from tfbert.models.exports.plain import plain_classifier, plain_encoder

    if isinstance(model, TrainedModel):
        plain, max_length = plain_classifier(model.model), model.max_length
        if model.labels:
            write_json(folder / LABELS_FILE, model.labels)
        write_json(folder / PROBLEM_FILE, model.problem.config())
    else:
        encoder = model.model.backbone if isinstance(model, Pretrained) else model.backbone
        plain, max_length = plain_encoder(encoder), encoder.max_sequence_length
        log.info("model %s has no classification head: the outputs are vectors", config.model)
    write = write_onnx if config.format == "onnx" else write_litert
    write(plain, folder / MAIN_FILES[config.format])
    write_tokenizer(model.tokenizer, folder, max_length)


_WRITERS: dict[str, Callable[[Trained, Path, ExportConfig], None]] = {
    "huggingface": _huggingface,
    "savedmodel": _savedmodel,
    "onnx": _file,
    "litert": _file,
}


def _run_of(source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the record of a run says that differs from the defaults, and its metrics; else empty."""
    path = as_path(source)
    if not exists(path / "config.yaml"):
        return {}, {}
    try:
        record = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path / 'config.yaml'}: damaged: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(record, dict):
        raise InputError(f"{path / 'config.yaml'}: damaged: it is not that of a run")
    config_class = PretrainConfig if "phases" in record else FinetuneConfig
    defaults = {field.name: field.default for field in dataclasses.fields(config_class)}
    changed = {
        key: value
        for key, value in record.items()
        if key in RUN_RECORD_KEYS
        or value != defaults.get(key, value)
        or defaults.get(key) is dataclasses.MISSING
    }
    metrics = path / "metrics.json"
    return changed, read_json(metrics) if exists(metrics) else {}


def _command(config: ExportConfig) -> str:
    """The command line of an export."""
    words = ["--model", config.model, "--format", config.format, "--output", config.output]
    if config.dtype != "float32":
        words += ["--dtype", config.dtype]
    return shlex.join(["tfbert", "export", *words])

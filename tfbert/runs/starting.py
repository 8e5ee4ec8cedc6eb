"""How a training command starts, on which devices and in which directory, and what it returns."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tfbert.errors import InputError
from tfbert.hardware.strategies import backend, find_strategy, get_strategy, is_chief
from tfbert.keras_settings import keras_defaults
from tfbert.models.sources import resolve_source
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.outputs.run_directory import RunDirectory

if TYPE_CHECKING:
    import tensorflow as tf

Config = TypeVar("Config", FinetuneConfig, PretrainConfig)


class RunResult(NamedTuple):
    """What `finetune` and `pretrain` return.

    Args:
        model: The trained `BertClassifier` or `BertPretrainer`.
        history: By metric, its value after each epoch or evaluation.
        metrics: The content of `metrics.json`.
    """

    model: Any
    history: dict[str, list[float]]
    metrics: dict[str, Any]
    run_directory: str


def refuse_early(config: FinetuneConfig | PretrainConfig) -> None:
    """Looks at models and run directory before TensorFlow is imported, which takes seconds.

    Raises:
        InputError: If one is not what it must be.
    """
    if "TF_CONFIG" not in os.environ:  # only the chief writes to the directory
        run = RunDirectory(config.output)
        if not run.resumes(config):
            run.check_free(config.overwrite)
    if isinstance(config, FinetuneConfig):
        sources = [config.model or "embedded"]
    else:
        sources = [source for source in (config.init, config.teacher) if source]
    for source in sources:
        resolve_source(source)


def require_backend(requested: str | None) -> None:
    """Raises InputError where Keras runs on another backend than an option says.

    A command's `--backend` was obeyed before; from Python, KERAS_BACKEND decides.
    """
    if requested is not None and requested != backend():
        raise InputError(
            f"backend is {requested}, and Keras runs on {backend()}: set KERAS_BACKEND={requested} "
            "before Keras is imported"
        )


def start(
    train: Callable[[Config, tf.distribute.Strategy, RunDirectory, bool], RunResult], config: Config
) -> RunResult:
    """Calls the function that trains, with the devices and the run directory of this process.

    Args:
        train: Its last argument is whether the run in the directory is resumed.

    Raises:
        InputError: If there is another run in the directory, no such devices, or Keras runs on
            another backend than `config.backend` says.
    """
    require_backend(config.backend)
    if "TF_CONFIG" in os.environ:
        strategy = find_strategy(config.strategy, config.replicas)
        if not is_chief(strategy):
            # The other workers do the same work, and write into a folder that is removed.
            with tempfile.TemporaryDirectory() as scratch:
                silent = dataclasses.replace(config, progress=False)
                with keras_defaults():
                    return train(silent, strategy, RunDirectory(scratch), False)
    run = RunDirectory(config.output)
    resumes = run.resumes(config)
    if not resumes:
        run.check_free(config.overwrite)
    strategy = get_strategy(config.strategy, config.replicas)  # before Keras is imported
    with keras_defaults():
        return train(config, strategy, run, resumes)

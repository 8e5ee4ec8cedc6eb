import ast
import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import yaml

from tfbert.errors import InputError
from tfbert.options import read_options
from tfbert.runs.command_options import EvaluateConfig, FinetuneConfig, PredictConfig

GOOD = {"task": "csv", "output": "out", "data": "d", "model": "m"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "parity"}, r"--task is 'parity': it must be one of embedded, sst2"),
        ({"model": None}, "--model must be given for --task csv"),
        ({"data": None}, "--data must be given for --task csv"),
        ({"epochs": 0}, "--epochs is 0: it must be at least 1"),
        ({"max_length": 2}, "--max-length is 2: it must be at least 3"),
        ({"seed": None}, "--seed is None: it must be a whole number"),
        ({"epochs": "3"}, "--epochs is '3': it must be a whole number or left out"),
        ({"overwrite": 1}, "--overwrite is 1: it must be true or false"),
        ({"global_batch_size": True}, "--global-batch-size is True: it must be a whole number"),
        ({"learning_rate": float("inf")}, "--learning-rate is inf: it must be a finite number"),
        ({"class_weights": [1.0, "x"]}, "--class-weights is .*a list, each a finite number"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0: it must be above 0"),
        ({"class_weights": [1.0, 0.0]}, "none, balanced or a list, each above 0"),
        ({"class_weights": [-1.0, 2.0]}, r"--class-weights is \[-1.0, 2.0\]: it must be"),
        ({"separator": ";;"}, "--separator is .;;.: it must be `tab` or one character"),
        ({"task": "sst2", "separator": ";"}, "--task sst2 knows its own"),
        ({"tokens_per_batch": 2}, "--tokens-per-batch is 2: it must be at least 3"),
        (
            {"tokens_per_batch": 512, "per_device_batch_size": 4},
            "--tokens-per-batch goes without --per-device-batch-size",
        ),
        ({"token_cache": ""}, "--token-cache is '': it must be `memory`, `none` or a folder"),
        ({"token_cache": __file__}, "it must be `memory`, `none` or a folder"),
        ({"task": "sst2", "text_column": "t"}, "--task sst2 knows its own"),
    ],
)
def test_a_wrong_option_is_named(change, message):
    with pytest.raises(InputError, match=message):
        FinetuneConfig(**{**GOOD, **change})


NUMBERS = "global_batch_size=0 replicas=0 freeze_layers=-1 early_stopping=-1 weight_decay=-0.1"
NUMBERS += " seed=-1 split_seed=4294967296 eval_fraction=0.0 warmup_fraction=1.0"
NAMES = "optimizer='sgd' precision='int8' class_weights='heavy'"


@pytest.mark.parametrize(
    ("config_class", "words"),
    [
        (functools.partial(FinetuneConfig, **GOOD), f"{NUMBERS} {NAMES}"),
        (functools.partial(EvaluateConfig, model="m"), "batch_size=0 precision='int8'"),
        (functools.partial(PredictConfig, model="m"), "batch_size=0 precision='int8'"),
    ],
    ids=["finetune", "evaluate", "predict"],
)
def test_a_value_out_of_bounds_is_named(config_class, words):
    for word in words.split():
        name, value = word.split("=")
        with pytest.raises(InputError, match=f"--{name.replace('_', '-')} is {value}"):
            config_class(**{name: ast.literal_eval(value)})


def test_the_embedded_task_needs_neither_data_nor_model():
    assert FinetuneConfig(task="embedded", output="out").model is None


def test_paths_and_numbers_of_numpy_become_plain_values():
    config = FinetuneConfig(
        **{**GOOD, "output": Path("runs/x"), "learning_rate": np.float32(0.5), "seed": np.int64(3)}
    )
    assert (config.output, config.learning_rate, config.seed) == ("runs/x", 0.5, 3)
    assert yaml.safe_dump(dataclasses.asdict(config))


def test_a_run_record_can_be_read_back(tmp_path):
    config = FinetuneConfig(**GOOD, class_weights=[1.0, 2.5], epochs=2)
    path = tmp_path / "config.yaml"
    record = {**dataclasses.asdict(config), "versions": {"keras": "3"}, "labels": ["a", "b"]}
    path.write_text(yaml.safe_dump(record))
    assert FinetuneConfig(**read_options(path, FinetuneConfig)) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochz: 3\n", "unknown option 'epochz'; did you mean epochs?"),
        ("zzz: 3\n", "unknown option 'zzz'; known are attention, attention_dropout, "),
        ("- 1\n", "must hold `option: value` lines"),
        ("a: [\n", "cannot be read as YAML"),
        (None, "No such file"),
    ],
)
def test_a_wrong_configuration_file_is_named(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_options(path, FinetuneConfig)

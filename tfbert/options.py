"""What all configurations check: the type of every option, and its range."""

import dataclasses
import math
import os
import re
import types
import typing
from typing import Literal

import numpy as np
import yaml

from tfbert.errors import InputError
from tfbert.io.paths import as_path

StrategyName = Literal["auto", "cpu", "mirrored", "multi_worker", "tpu"]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]

# What `config.yaml` in a run directory records beside the options.
RUN_RECORD_KEYS = ("command", "labels", "resolved", "versions")

# What YAML 1.1 takes for text, as there is no point: 2e-4.
_YAML_TEXT = r"[-+]?\d+[eE][-+]?\d+"


class Options:
    """Base of the configurations: plain values, each of its field's type.

    Raises:
        InputError: If a value is of another type, or no finite number.
    """

    def __post_init__(self):
        hints = typing.get_type_hints(type(self))
        for name, hint in hints.items():
            value = getattr(self, name)
            # What notebooks hand over: paths, and numbers out of NumPy.
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
            elif isinstance(value, np.generic):
                value = value.item()
            elif isinstance(value, str) and re.fullmatch(_YAML_TEXT, value) and _accepts(hint, 0.0):
                value = float(value)
            object.__setattr__(self, name, value)  # the class is frozen
            require(_accepts(hint, value), name, value, _in_words(hint))


def _accepts(hint, value):
    """Whether a value is of a type, in the few forms of types that options have."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_accepts(argument, value) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_accepts(arguments[0], item) for item in value)
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, hint)


def _in_words(hint):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_in_words, arguments))
    if origin is Literal:
        return "one of " + ", ".join(arguments)
    if origin is list:
        return f"a list, each {_in_words(arguments[0])}"
    words = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}
    return words.get(hint, "left out")


def require(condition, name, value, expectation):
    """Raises InputError where `condition` does not hold, in the words of the command line."""
    if not condition:
        option = name.replace("_", "-")
        raise InputError(f"--{option} is {value!r}: it must be {expectation}")


def require_at_least(config, minimum, *names):
    """Requires fields of a configuration to be None or at least `minimum`."""
    for name in names:
        value = getattr(config, name)
        require(value is None or value >= minimum, name, value, f"at least {minimum}")


def require_token_cache(config):
    """Requires `token_cache` to be what `tfbert.tasks.token_cache` takes."""
    cache = config.token_cache
    valid = cache and not os.path.isfile(cache)
    require(valid, "token_cache", cache, "`memory`, `none` or a folder")


def require_dropout(config):
    """Requires `dropout` to be None or a rate that `tfbert.models.dropout` does not round away."""
    rate = config.dropout
    valid = rate is None or rate == 0 or 1e-5 <= rate <= 0.9999
    require(valid, "dropout", rate, "0, or from 0.00001 to 0.9999")


def read_options(path, config_class):
    """Reads a YAML file of `config_class`'s options.

    Keys that a run directory's `config.yaml` adds beside the options (`RUN_RECORD_KEYS`) are passed
    over, so that a run can be repeated from its own record.

    Raises:
        InputError: If the file cannot be read, is no mapping, or holds an unknown option.
    """
    try:
        options = yaml.safe_load(as_path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(options, dict):
        raise InputError(f"{path}: must hold `option: value` lines")
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = [key for key in options if key not in known and key not in RUN_RECORD_KEYS]
    if unknown:
        raise InputError(
            f"{path}: unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )
    return {key: value for key, value in options.items() if key in known}

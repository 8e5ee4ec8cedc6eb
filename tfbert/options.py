"""What all configurations check: the type of every option, and its range."""

import dataclasses
import difflib
import math
import os
import re
import types
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np
import yaml

from tfbert.errors import InputError
from tfbert.io.paths import as_path

# What `config.yaml` in a run directory records in addition to the options.
RUN_RECORD_KEYS = ("command", "labels", "resolved", "versions")

# YAML 1.1 reads this as text, as it has no decimal point: 2e-4.
_YAML_TEXT = r"[-+]?\d+[eE][-+]?\d+"

_TYPES_IN_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    types.NoneType: "left out",
}


class Rule(NamedTuple):
    """What a value must be in addition to its type: `Annotated[int, at_least(1)]`.

    Attributes:
        words: The rule in words, as they stand after "it must be".
        holds: Whether a value of the right type follows the rule.
    """

    words: str
    holds: Callable[[Any], bool]


def at_least(limit: float) -> Rule:
    """The rule that a number is `limit` or more."""
    return Rule(f"at least {limit}", lambda value: value >= limit)


StrategyName = Literal["auto", "cpu", "mirrored", "multi_worker", "tpu"]
BackendName = Literal["tensorflow", "jax"]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]
AttentionName = Literal["auto", "plain", "fused"]
Count = Annotated[int, at_least(1)]
Positive = Annotated[float, Rule("above 0", lambda value: value > 0)]
NotNegative = Annotated[float, at_least(0)]
PositiveShare = Annotated[float, Rule("above 0 and below 1", lambda value: 0 < value < 1)]
Share = Annotated[float, Rule("at least 0 and below 1", lambda value: 0 <= value < 1)]
Seed = Annotated[int, Rule("at least 0 and below 2^32", lambda value: 0 <= value < 2**32)]
# Rates that `tfbert.models.layers.dropout` does not round to 0 or 1.
DropoutRate = Annotated[
    float, Rule("0, or from 0.00001 to 0.9999", lambda rate: rate == 0 or 1e-5 <= rate <= 0.9999)
]
# Of the columns of a table.
Separator = Annotated[
    str,
    Rule("`tab` or one character", lambda text: text in ("tab", r"\t") or len(text) == 1),
]
# See `tfbert.tasks.tokens.token_cache`.
TokenCacheName = Annotated[
    str,
    Rule("`memory`, `none` or a folder", lambda cache: cache != "" and not os.path.isfile(cache)),
]


class Options:
    """Base of the configurations: plain values, each of its field's type, in its field's range.

    Paths, numbers of NumPy and, where a real number is meant, whole numbers become plain values.

    Raises:
        InputError: If a value is of another type, not a finite number, or breaks its `Rule`.
    """

    def __post_init__(self) -> None:
        for name, hint in option_types(type(self)).items():
            value = _plain(hint, getattr(self, name))
            object.__setattr__(self, name, value)  # the class is frozen
            expectation = _broken(hint, value)
            if expectation and isinstance(value, str):
                names = [kind for kind in parts_of_type(hint) if isinstance(kind, str)]
                expectation += suggestion(value, names, "", "; ")
            require(expectation is None, name, value, expectation)


def option_types(config_class: type) -> dict[str, Any]:
    """The type of every option of a configuration class, with its `Rule`."""
    return get_type_hints(config_class, include_extras=True)


def parts_of_type(hint: Any) -> list[Any]:
    """The parts of a type: "none" and float of `Literal["none"] | list[float]`."""
    arguments = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    return [part for argument in arguments for part in parts_of_type(argument)] or [hint]


def _plain(hint: Any, value: Any) -> Any:
    """A value as a plain one: paths as text, numbers of NumPy as Python's."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return [_plain(hint, item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    is_number = type(value) is int or (isinstance(value, str) and re.fullmatch(_YAML_TEXT, value))
    return float(value) if is_number and float in parts_of_type(hint) else value


def _broken(hint: Any, value: Any) -> str | None:
    """What a value must be, in words, if it is not; None if it is."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *rules = arguments
        wrong_type = _broken(base, value)
        return wrong_type or next((rule.words for rule in rules if not rule.holds(value)), None)
    if origin in (Union, types.UnionType):
        broken = [words for kind in arguments if (words := _broken(kind, value))]
        return " or ".join(broken) if len(broken) == len(arguments) else None
    if origin is Literal:
        return None if value in arguments else "one of " + ", ".join(arguments)
    if origin is list:
        items = value if isinstance(value, list) else [object()]  # an item of a wrong type
        first = next(filter(None, (_broken(arguments[0], item) for item in items)), None)
        return first and f"a list, each {first}"
    if hint is bool or isinstance(value, bool):
        holds = hint is bool and isinstance(value, bool)
    elif hint is float:
        holds = isinstance(value, int | float) and math.isfinite(value)
    else:
        holds = isinstance(value, hint)
    return None if holds else _TYPES_IN_WORDS.get(hint, f"a {hint.__name__}")


def require(condition: bool, name: str, value: Any, expectation: str | None) -> None:
    """Raises `InputError`, in the words of the command line, if a value breaks a condition.

    Args:
        condition: Whether the value is right.
        name: The field.
        value: Its value.
        expectation: What it must be, in words.
    """
    if not condition:
        raise InputError(f"{option_name(name)} is {value!r}: it must be {expectation}")


def option_name(field: str) -> str:
    """`--text-column` for the field `text_column`."""
    return "--" + field.replace("_", "-")


# What other programs call it.
_OTHER_NAMES = {
    **dict.fromkeys(("bs", "batch-size", "train-batch-size"), ("global-batch-size",)),
    "per-device-train-batch-size": ("per-device-batch-size",),
    "gradient-accumulation-steps": ("per-device-batch-size", "phases.0.per-device-batch-size"),
    **dict.fromkeys(("lr", "rate"), ("learning-rate",)),
    **dict.fromkeys(("wd", "decay", "weight-decay-rate"), ("weight-decay",)),
    **dict.fromkeys(("num-train-epochs", "num-epochs", "n-epochs"), ("epochs",)),
    **dict.fromkeys(("max-seq-length", "max-seq-len", "seq-length"), ("max-length",)),
    **dict.fromkeys(("warmup", "warmup-ratio", "warmup-proportion"), ("warmup-fraction",)),
    **dict.fromkeys(("model-name-or-path", "checkpoint", "pretrained"), ("model",)),
    **dict.fromkeys(("output-dir", "out", "save-dir", "dir"), ("output",)),
    **dict.fromkeys(("train-file", "data-dir", "dataset"), ("data", "input")),
    **dict.fromkeys(("validation-file", "eval-file", "dev", "validation"), ("eval-data",)),
    **dict.fromkeys(("gpus", "num-gpus", "devices", "num-devices"), ("replicas",)),
    **dict.fromkeys(("device", "accelerator"), ("strategy",)),
    **dict.fromkeys(("fp16", "bf16", "mixed-precision", "dtype"), ("precision",)),
    **dict.fromkeys(("continue", "restart"), ("resume",)),
    **dict.fromkeys(("force", "overwrite-output-dir"), ("overwrite",)),
    "patience": ("early-stopping",),
    "num-workers": ("workers",),
    **dict.fromkeys(("xla", "compile"), ("jit-compile",)),
}
_OTHER_VALUES = {
    **dict.fromkeys(("fp16", "half", "f16", "mixed_float16"), "float16"),
    **dict.fromkeys(("bf16", "mixed_bfloat16"), "bfloat16"),
    **dict.fromkeys(("fp32", "float", "f32", "full"), "float32"),
    **dict.fromkeys(("adam", "bertadam", "adam_w"), "adamw"),
    **dict.fromkeys(("gpu", "cuda", "gpus"), "mirrored"),
    **dict.fromkeys(("json", "jsonlines", "ndjson"), "jsonl"),
    **dict.fromkeys(("sst-2", "sst"), "sst2"),
}


def suggestion(word: str, known: Iterable[str], otherwise: str, before: str = "") -> str:
    """The known word that is nearest to a wrong one, as a question, or `otherwise`.

    Args:
        word: An option, with or without its dashes; a command, or a value.
        known: What there is, in the same form.
        before: What stands before the question.
    """
    known = list(known)
    bare = {name.lstrip("-").replace("_", "-").lower(): name for name in reversed(known)}
    wanted = word.lstrip("-").replace("_", "-").lower()
    others = (*_OTHER_NAMES.get(wanted, ()), _OTHER_VALUES.get(word.lower(), ""))
    meant = [bare[other] for other in others if other in bare]
    meant = meant or [bare[near] for near in difflib.get_close_matches(wanted, bare, n=1)]
    if not meant and len(wanted) > 2:  # a part of a name
        meant = [name for bare_name, name in bare.items() if wanted in bare_name][-1:]
    return f"{before}did you mean {meant[0]}?" if meant else otherwise


def make_options(config_class: type, given: dict[str, Any]) -> Any:
    """A configuration from options by name.

    Raises:
        InputError: If one is unknown, missing or wrong, in the words of the command line.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    for name in given:
        if name not in fields:
            hint = suggestion(str(name), fields, f"known are {', '.join(fields)}")
            raise InputError(f"{option_name(str(name))} is not an option; {hint}")
    for name, field in fields.items():
        if is_required(field) and name not in given:
            raise InputError(f"{option_name(name)} must be given")
    return config_class(**given)


def is_required(field: dataclasses.Field) -> bool:
    """Whether a field has no default."""
    return field.default is field.default_factory is dataclasses.MISSING


def read_options(path: str | os.PathLike[str], config_class: type) -> dict[str, Any]:
    """Reads a YAML file of `config_class`'s options.

    Keys that a run directory's `config.yaml` adds to the options (`RUN_RECORD_KEYS`) are ignored,
    so that a run can be repeated from its own record.

    Raises:
        InputError: If the file cannot be read, is not a mapping, or holds an unknown option.
    """
    try:
        options = yaml.safe_load(as_path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as YAML: {reason}") from error
    if not isinstance(options, dict):
        raise InputError(f"{path}: must hold `option: value` lines")
    known = sorted(field.name for field in dataclasses.fields(config_class))
    for key in options:
        if key not in known and key not in RUN_RECORD_KEYS:
            hint = suggestion(str(key), known, f"known are {', '.join(known)}")
            raise InputError(f"{path}: unknown option {key!r}; {hint}")
    return {key: value for key, value in options.items() if key in known}

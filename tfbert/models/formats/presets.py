"""KerasHub's presets, and what they cannot hold: `tfbert.json` beside one that this package wrote.

A preset's encoder always computes tanh GELU and an epsilon of 1e-12, and its tokenizer differs from
BERT's own in rare characters. `tfbert.json` keeps what the model has, so that it is opened here as
it was; KerasHub does not read the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tfbert.errors import InputError, first_line
from tfbert.io.whole import read_json, write_json
from tfbert.models.formats.forms import form_of
from tfbert.models.formats.hub import SCHEME, fetch
from tfbert.models.sizes import LAYER_NORM_EPSILON
from tfbert.text.tokenizer import BertTokenizer, check_tensorflow_text
from tfbert.text.vocabulary import Vocabulary
from tfbert.types import ActivationName

if TYPE_CHECKING:
    import keras_hub

log = logging.getLogger("tfbert")

SETTINGS_FILE = "tfbert.json"
_ENCODER = {"activation": "gelu_tanh", "layer_norm_epsilon": LAYER_NORM_EPSILON}
_TOKENIZER = ("lowercase", "strip_accents", "tokenize_chinese_chars")


def write_settings(
    directory: str | os.PathLike,
    backbone: keras_hub.models.BertBackbone,
    tokenizer: BertTokenizer | None = None,
) -> None:
    """Writes `tfbert.json` into the directory of a preset.

    Says once if stock KerasHub computes something else than the model.
    """
    settings = {
        "encoder": {key: getattr(backbone, key, default) for key, default in _ENCODER.items()}
    }
    if tokenizer is not None:
        settings["tokenizer"] = {key: getattr(tokenizer, key) for key in _TOKENIZER}
    write_json(Path(directory) / SETTINGS_FILE, settings)
    different = [
        f"{key} {value}" for key, value in settings["encoder"].items() if value != _ENCODER[key]
    ]
    if different:
        log.info(
            "the model has %s, which a KerasHub preset cannot hold: KerasHub computes gelu_tanh "
            "and 1e-12 with its weights, and tfbert, by %s, what was trained",
            *(" and ".join(different), SETTINGS_FILE),
        )


def read_settings(preset: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """`{"encoder": arguments of BertEncoder, "tokenizer": arguments of BertTokenizer}`.

    What `tfbert.json` does not say, or where there is none, is KerasHub's, and left out.

    Raises:
        InputError: If the file is damaged.
    """
    path = Path(preset) / SETTINGS_FILE
    if not os.path.exists(path):  # `preset` may be a name
        return {"encoder": {}, "tokenizer": {}}
    content = read_json(path)
    settings = {}
    for part, keys in (("encoder", tuple(_ENCODER)), ("tokenizer", _TOKENIZER)):
        found = content.get(part, {}) if isinstance(content, dict) else None
        if not isinstance(found, Mapping) or not all(map(_is_valid, found, found.values())):
            raise InputError(f"{path}: damaged: {part} is {found!r}")
        settings[part] = {key: value for key, value in found.items() if key in keys}
    return settings


def _is_valid(key: str, value: Any) -> bool:
    if key == "activation":
        return value in get_args(ActivationName)
    if key == "layer_norm_epsilon":
        return type(value) in (int, float) and 0 < value < 1
    return key not in _TOKENIZER or type(value) is bool


def load_preset(preset_class: Any, preset: str, where: str, **kwargs: Any) -> Any:
    """`preset_class.from_preset` with a one-line error.

    Args:
        preset: A directory, a name or an address that KerasHub knows.
        where: What the user calls it, for messages.

    Raises:
        InputError: If the model cannot be fetched or its files cannot be read.
    """
    import huggingface_hub

    from tfbert.models.layers.self_attention import weights_follow

    # Each of its five retries without a network would print a line.
    huggingface_hub.utils.logging.set_verbosity_error()
    # What KerasHub converts for an address may lack a pooler, which then begins at random.
    is_whole = "://" not in preset
    try:
        with weights_follow() if is_whole else contextlib.nullcontext():
            return preset_class.from_preset(preset, **kwargs)
    # What a hub's client or a damaged file raises is not documented and differs by version.
    except Exception as error:
        reason = first_line(error)[:300] or type(error).__name__
        remedy = (
            "check that the files are a complete BERT"
            if os.path.isdir(preset)
            else "check the name and the network, or give a local directory"
        )
        raise InputError(f"model {where}: cannot be loaded: {reason}; {remedy}") from error


def load_tokenizer(preset: str, where: str) -> BertTokenizer:
    """The tokenizer of a preset; arguments and errors as in `load_preset`."""
    import keras_hub

    check_tensorflow_text()
    return with_settings(load_preset(keras_hub.models.BertTokenizer, preset, where), preset)


def with_settings(tokenizer: keras_hub.models.BertTokenizer, preset: str) -> BertTokenizer:
    """The tokenizer of a preset, with the settings that `tfbert.json` keeps."""
    settings = read_settings(preset)["tokenizer"]
    if not settings:
        return BertTokenizer.from_keras_hub(tokenizer)
    vocabulary = Vocabulary(tokenizer.get_vocabulary(), f"model {preset}")
    return BertTokenizer(vocabulary, **{"lowercase": tokenizer.lowercase, **settings})


def check_preset(preset: str) -> None:
    """Refuses a model of Hugging Face's form, which KerasHub would open with another activation.

    Raises:
        InputError: If it is one.
    """
    folder: Path | None = Path(preset)
    if preset.startswith(SCHEME):
        folder = fetch(preset)
    if folder is None or not folder.is_dir():
        return
    if form_of({file.name for file in folder.iterdir()}, f"model {preset}") != "preset":
        raise InputError(
            f"model {preset}: not a KerasHub preset; tfbert.load_encoder({preset!r}) opens it"
        )

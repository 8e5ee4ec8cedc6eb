"""Model sources: what `--model` may name, and how an encoder is loaded from it."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.io.paths import as_path, exists, is_remote
from tfbert.io.whole import is_whole, local_folder
from tfbert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    from tfbert.models.encoder import BertEncoder

log = logging.getLogger("tfbert")


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A `BertEncoder` and the tokenizer that belongs to it."""

    backbone: BertEncoder
    tokenizer: BertTokenizer


def resolve_source(source: str) -> str:
    """The name or path that KerasHub's `from_preset` takes for a MODEL argument.

    Args:
        source: `embedded`, a KerasHub preset name, `hf://owner/name` (or any address that KerasHub
            knows), a KerasHub preset directory, a Hugging Face directory with safetensors, or a
            run directory.

    Raises:
        InputError: If it is none of these.
    """
    if source == "embedded":
        return str(MODEL_DIRECTORY)
    path = as_path(source)
    if exists(path):
        if not path.is_dir():
            raise InputError(f"model {source}: is a file; give the model's directory")
        is_run = (path / "config.yaml").exists() and not (path / "config.json").exists()
        if is_run and not is_whole(path / "model"):
            raise InputError(f"model {source}: an unfinished run: there is no model/ in it")
        directory = path / "model" if is_run else path
        _check_directory(directory)
        return str(local_folder(directory))
    if is_remote(path):  # not an address that KerasHub knows
        raise InputError(f"model {source}: no such folder")
    if "://" in source:
        return source
    import keras_hub

    presets = keras_hub.models.BertBackbone.presets
    if source not in presets:
        raise InputError(
            f"model {source}: no such directory, and no BERT preset of that name; "
            f"presets are {', '.join(sorted(presets))}"
        )
    return source


def _check_directory(path):
    if not (path / "config.json").exists():
        raise InputError(f"model {path}: no config.json in it, so it is not a model")
    if not any(path.glob("*.safetensors")) and not any(path.glob("model*.h5")):
        raise InputError(
            f"model {path}: neither model.safetensors nor model.weights.h5 in it; pickled "
            "weights (pytorch_model.bin) are not read: convert them to safetensors"
        )


def load_preset(preset_class: Any, source: str, **kwargs: Any) -> Any:
    """`preset_class.from_preset` on a MODEL argument, with a one-line error.

    Raises:
        InputError: If the model cannot be fetched or its files cannot be read.
    """
    import huggingface_hub

    preset = resolve_source(source)
    # Each of its five retries without a network would print a line.
    huggingface_hub.utils.logging.set_verbosity_error()
    try:
        return preset_class.from_preset(preset, **kwargs)
    # What a hub's client or a damaged file raises is not documented and differs by version.
    except Exception as error:
        reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
        remedy = (
            "check that the files are a complete BERT"
            if os.path.isdir(preset)
            else "check the name and the network, or give a local directory"
        )
        raise InputError(f"model {source}: cannot be loaded: {reason}; {remedy}") from error


def load_encoder(
    source: str, dtype: str, rematerialize: bool = False, dropout: float | None = None
) -> Encoder:
    """Loads the encoder and the tokenizer of a MODEL argument.

    Args:
        source: See `resolve_source`.
        dtype: Keras dtype policy of the encoder, such as `mixed_bfloat16`.
        rematerialize, dropout: As in `BertEncoder`; the rate of dropout is the model's by default.
    """
    import keras_hub

    from tfbert.models.encoder import BertEncoder

    changes = {} if dropout is None else {"dropout": dropout}
    backbone = load_preset(BertEncoder, source, dtype=dtype, rematerialize=rematerialize, **changes)
    tokenizer = load_preset(keras_hub.models.BertTokenizer, source)
    if _activation(resolve_source(source)) == "gelu":
        log.info(
            "%s was trained with erf GELU and runs with BERT's tanh GELU, as in KerasHub "
            "(outputs move by a few thousandths)",
            source,
        )
    return Encoder(backbone, BertTokenizer.from_keras_hub(tokenizer))


def _activation(preset):
    """`hidden_act` of a Hugging Face model, None of any other."""
    if preset.startswith("hf://"):
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(preset.removeprefix("hf://"), "config.json"))
    else:
        path = Path(preset) / "config.json"
    return json.loads(path.read_text()).get("hidden_act") if path.exists() else None

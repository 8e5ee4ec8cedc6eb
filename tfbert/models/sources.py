"""Model sources: what `--model` may name, and how an encoder is loaded from it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.io.paths import as_path, exists, is_remote
from tfbert.io.whole import is_whole, local_folder
from tfbert.models.formats.folder import (
    OpenedModel,
    check_folder,
    open_folder,
    size_arguments,
)
from tfbert.models.formats.forms import form_of
from tfbert.models.formats.hub import SCHEME, fetch
from tfbert.models.formats.presets import load_preset, load_tokenizer
from tfbert.models.preset_names import is_preset, preset_names
from tfbert.options import suggestion
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
    """The name, address or local path that a MODEL argument means; TensorFlow is not needed.

    Args:
        source: `embedded`, a KerasHub preset name, `hf://owner/name` (or any address that KerasHub
            knows), a run directory, or a directory: a KerasHub preset, a Hugging Face model with
            safetensors or `tf_model.h5`, a checkpoint of Google's BERT or of Model Garden (or the
            path of one, without `.index`).

    Raises:
        InputError: If it is none of these, or a directory's configuration is not that of a BERT.
    """
    if source == "embedded":
        return str(MODEL_DIRECTORY)
    path = as_path(source)
    if exists(path) and path.is_dir():
        is_run = (path / "config.yaml").exists() and not (path / "config.json").exists()
        if is_run and not is_whole(path / "model"):
            raise InputError(f"model {source}: an unfinished run: there is no model/ in it")
        directory = local_folder(path / "model" if is_run else path)
        check_folder(directory, source)
        return str(directory)
    if exists(f"{source}.index"):
        check_folder(path.parent, source)
        return source
    if exists(path):
        raise InputError(f"model {source}: is a file; give the model's directory")
    if is_remote(path):  # not an address that KerasHub knows
        raise InputError(f"model {source}: no such folder")
    if "://" in source:
        return source
    if "/" in source:  # no preset has one in its name
        is_path = source.count("/") != 1 or exists(path.parent) or source.startswith("runs/")
        hint = "" if is_path else f"; on the Hugging Face Hub it is hf://{source}"
        raise InputError(f"model {source}: no such directory{hint}")
    if not is_preset(source):
        presets = preset_names()
        raise InputError(
            f"model {source}: no such directory, and no BERT preset of that name; "
            f"presets are {', '.join(sorted(presets))}{suggestion(source, presets, '', '; ')}"
        )
    return source


def stored_size(source: str) -> dict[str, int]:
    """`size_arguments` of a MODEL argument in a local folder; TensorFlow is not needed.

    Raises:
        InputError: As `resolve_source`, or if it is not in a local folder.
    """
    place = Path(resolve_source(source))
    folder = place if place.is_dir() else place.parent
    if "://" in source or not (place.is_dir() or Path(f"{place}.index").exists()):
        raise InputError(f"model {source}: its size is read from a local folder only; give one")
    return size_arguments(folder, source)


def open_source(source: str) -> OpenedModel | str:
    """The opened model of another program; of a KerasHub preset what its `from_preset` takes.

    Args:
        source: See `resolve_source`.

    Raises:
        InputError: If it is not there, damaged, or not a BERT.
    """
    place = resolve_source(source)
    if place.startswith(SCHEME):
        folder = fetch(place)
        return place if folder is None else open_folder(folder, source)
    path = Path(place)
    if "://" in place or not (path.is_dir() or Path(f"{place}.index").exists()):
        return place
    if not path.is_dir():
        return open_folder(path.parent, source, prefix=path)
    names = {file.name for file in path.iterdir()}
    return place if form_of(names, source) == "preset" else open_folder(path, source)


def load_encoder(
    source: str,
    dtype: str = "float32",
    rematerialize: bool = False,
    dropout: float | None = None,
    attention_dropout: float | None = None,
) -> Encoder:
    """Loads the encoder and the tokenizer of a MODEL argument.

    Args:
        source: See `resolve_source`.
        dtype: Keras dtype policy of the encoder, such as `mixed_bfloat16`.
        rematerialize, dropout, attention_dropout: As in `BertEncoder`; the rate of dropout is the
            model's by default.

    Raises:
        InputError: As `open_source`.
    """
    return encoder_of(open_source(source), source, dtype, rematerialize, dropout, attention_dropout)


def encoder_of(
    opened: str | OpenedModel,
    source: str,
    dtype: str,
    rematerialize: bool,
    dropout: float | None,
    attention_dropout: float | None,
) -> Encoder:
    """`load_encoder` of what `open_source` returned for a source."""
    from tfbert.models.encoder import BertEncoder

    options: dict[str, Any] = {
        "dtype": dtype,
        "rematerialize": rematerialize,
        "attention_dropout": attention_dropout,
    }
    if dropout is not None:
        options["dropout"] = dropout
    if isinstance(opened, OpenedModel):
        return Encoder(opened.make_encoder(**options), opened.tokenizer)
    backbone = load_preset(BertEncoder, opened, source, **options)
    return Encoder(backbone, load_tokenizer(opened, source))

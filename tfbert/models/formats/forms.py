"""Which form a model has, by the names of its files; what is not read, and what to do with it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from tfbert.errors import InputError
from tfbert.models.formats.safetensors_files import INDEX_FILE

Form = Literal["preset", "safetensors", "keras_h5", "checkpoint"]

_KEPT = {
    *("config.json", "bert_config.json", "generation_config.json"),
    *("vocab.txt", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"),
}
_CONVERT = (
    "convert them once: python -c \"import transformers as t; old, new = 'DIR', 'NEW'; "
    "getattr(t, t.AutoConfig.from_pretrained(old).architectures[0])"
    ".from_pretrained(old{option}).save_pretrained(new); "
    't.AutoTokenizer.from_pretrained(old).save_pretrained(new)" where {packages} installed'
)
# By a pattern of file names, what it is and how to make of it what is read.
_NOT_READ = {
    r"adapter_(config\.json|model\..*)": (
        "an adapter, which is only the change of another model: merge them with peft, by "
        "merge_and_unload() and save_pretrained()"
    ),
    r".*\.(gguf|ggml)": (
        "a file of llama.cpp, mostly quantized: take the model that it was made of"
    ),
    r"(pytorch_)?model.*\.bin|.*\.(pt|pth|pkl|ckpt)": (
        "pickled weights, which can execute code and are never opened: "
        + _CONVERT.format(option="", packages="torch and transformers are")
    ),
    r"flax_model.*\.msgpack": (
        "Flax weights: "
        + _CONVERT.format(option=", from_flax=True", packages="torch, flax and transformers 4 are")
    ),
    r"saved_model\.pb": (
        "a SavedModel, which is a program: take the checkpoint or the folder that it was exported "
        "from"
    ),
    r".*\.(onnx|tflite|mlmodel|engine)|openvino_model\.xml": (
        "an exported program: take the model that it was exported from"
    ),
}


def form_of(names: Collection[str], where: str) -> Form:
    """The form of a model.

    Args:
        names: Of the files in its folder.
        where: For messages, such as `model bert/`.

    Raises:
        InputError: If it is none that is read.
    """
    if "adapter_config.json" in names:
        raise _not_read("adapter_config.json", where)
    if "tf_model.h5" not in names and any(re.fullmatch(r"model.*\.h5", name) for name in names):
        return "preset"
    if weights_file(names) is not None:
        return "safetensors"
    if "tf_model.h5" in names:
        return "keras_h5"
    if any(name.endswith(".index") for name in names):
        return "checkpoint"
    for pattern in _NOT_READ:
        for name in sorted(names):
            if re.fullmatch(pattern, name):
                raise _not_read(name, where)
    if "config.json" not in names:
        raise InputError(f"{where}: no config.json in it, so it is not a model")
    if any(name.endswith(".safetensors") for name in names):
        raise InputError(
            f"{where}: several safetensors files in it, and no {INDEX_FILE}, which says what is "
            "in which: fetch it, too, or leave only the file that is meant"
        )
    raise InputError(f"{where}: no weights in it (such as model.safetensors)")


def weights_file(names: Collection[str]) -> str | None:
    """Which of the files holds the weights in the safetensors format, or names those that do."""
    for name in ("model.safetensors", INDEX_FILE):
        if name in names:
            return name
    found = [name for name in names if name.endswith(".safetensors")]
    return found[0] if len(found) == 1 else None


def files_to_fetch(names: Collection[str], where: str) -> list[str] | None:
    """Those of a model's files that are read; None for a preset of KerasHub.

    Raises:
        InputError: As `form_of`.
    """
    names = {name for name in names if "/" not in name}
    form = form_of(names, where)
    if form == "preset":
        return None
    if form == "safetensors":
        chosen = weights_file(names)
        sharded = chosen == INDEX_FILE
        weights = {n for n in names if n == chosen or (sharded and n.endswith(".safetensors"))}
    elif form == "keras_h5":
        weights = {"tf_model.h5"}
    else:
        weights = {name for name in names if re.search(r"\.(index|data-\d+-of-\d+)$", name)}
    return sorted(weights | (names & _KEPT))


def _not_read(name: str, where: str) -> InputError:
    meaning = next(text for pattern, text in _NOT_READ.items() if re.fullmatch(pattern, name))
    return InputError(f"{where}: {name} is {meaning}")

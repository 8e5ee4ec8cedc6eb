"""Weights in `.safetensors` files, with Hugging Face's names: one file, or several and an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfbert.errors import InputError, first_line
from tfbert.io.whole import read_json
from tfbert.models.formats.huggingface_names import SPAN_HEAD, huggingface_name
from tfbert.models.formats.stored_weights import StoredWeights

INDEX_FILE = "model.safetensors.index.json"
_DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}


def read_safetensors(path: Path) -> StoredWeights:
    """The weights in a file, or in those that an index names.

    Args:
        path: Of the file or the index.

    Raises:
        InputError: If it is damaged, or the index names a file elsewhere.
    """
    files = _files_of_index(path) if path.name == INDEX_FILE else {path: None}
    shapes: dict[str, tuple[int, ...]] = {}
    homes = {}
    for file, wanted in files.items():
        opened = _open(file)
        names = set(opened.keys())
        if wanted is not None and (missing := sorted(wanted - names)):
            raise InputError(f"{file}: lacks {missing[0]}, which {INDEX_FILE} says is in it")
        for name in names if wanted is None else wanted:
            shapes[name] = tuple(opened.get_slice(name).get_shape())
            homes[name] = (file, opened)

    def read(name: str) -> np.ndarray:
        file, opened = homes[name]
        dtype = opened.get_slice(name).get_dtype()
        if dtype not in _DTYPES:
            raise InputError(f"{file}: {name} is {dtype}: take the model in float32 or float16")
        return opened.get_tensor(name)

    return StoredWeights(
        where=str(path),
        shapes=shapes,
        read=read,
        names_of=huggingface_names,
        separator=".",
        is_transposed=lambda path: path.endswith("/kernel"),
    )


def huggingface_names(path: str) -> Sequence[str]:
    """What the variable with a path may be called, without `bert.`; the present name first."""
    name = huggingface_name(path).removeprefix("bert.")
    names = [name]
    if "LayerNorm." in name:  # as converted from TensorFlow before 2019
        names.append(f"{name.rpartition('.')[0]}.{path.rpartition('/')[2]}")
    if path == "mlm_head/bias":
        names.append("cls.predictions.decoder.bias")
    if name.startswith("classifier."):
        names.append(name.replace("classifier", SPAN_HEAD))
    return names


def _open(path):
    import ml_dtypes  # noqa: F401 # lets NumPy know bfloat16
    import safetensors

    try:
        return safetensors.safe_open(str(path), framework="numpy")
    # A file that is not there is named by another class of errors, which differs by version.
    except Exception as error:
        raise InputError(
            f"{path}: damaged, or not in the safetensors format: {first_line(error)}"
        ) from error


def _files_of_index(path):
    """{file: the names of its tensors}; every file lies beside the index."""
    index = read_json(path)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise InputError(f"{path}: damaged: no weight_map in it")
    files: dict[Path, set[str]] = {}
    for name, file in places.items():
        if not isinstance(file, str) or not file.endswith(".safetensors") or {"/", "\\"} & {*file}:
            raise InputError(
                f"{path}: names the file {file!r}: only safetensors files beside it are read"
            )
        if not (path.parent / file).is_file():
            raise InputError(f"{path}: names the file {file}, which is missing")
        files.setdefault(path.parent / file, set()).add(name)
    return files

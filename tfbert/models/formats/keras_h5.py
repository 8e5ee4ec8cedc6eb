"""Weights in `tf_model.h5`, as the TensorFlow classes of Hugging Face's library saved them.

Keras' old HDF5 form: a group for each layer, and in it datasets with the variables' full names,
such as `bert/tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfbert.errors import InputError, first_line
from tfbert.models.formats.huggingface_names import SPAN_HEAD, huggingface_name
from tfbert.models.formats.stored_weights import StoredWeights


def read_keras_h5(path: Path) -> StoredWeights:
    """The weights in a `tf_model.h5`.

    Raises:
        InputError: If it is damaged, or keeps its values in another file.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
        shapes = {}

        def visit(name, item):  # which follows no links
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise InputError(f"{path}: {name} lies in another file, which is not read")
                shapes[name] = tuple(item.shape)

        file.visititems(visit)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged, or not an HDF5 file: {first_line(error)}") from error

    def read(name: str) -> np.ndarray:
        try:
            return file[name][()]
        except (OSError, RuntimeError, KeyError) as error:
            raise InputError(f"{path}: damaged at {name}: {first_line(error)}") from error

    return StoredWeights(where=str(path), shapes=shapes, read=read, names_of=keras_names)


def keras_names(path: str) -> Sequence[str]:
    """What the variable with a path may be called, from the model's own part of the name on."""
    place = huggingface_name(path).rpartition(".")[0]
    # Heads stand under `mlm___cls` and `nsp___cls`.
    place = place.removeprefix("bert.").removeprefix("cls.")
    place = place.replace("encoder.layer.", "encoder.layer_._").replace("._", "\0")
    place = place.replace(".", "/").replace("\0", "._")
    kind = path.rpartition("/")[2]
    if kind == "embeddings":
        return [f"{place}/weight:0", f"{place}/embeddings:0"]
    places = [place, SPAN_HEAD] if place == "classifier" else [place]
    return [f"{place}/{kind}:0" for place in places]

"""One checkpoint on disk: a folder of three files, the last of which makes it one.

`tensors.safetensors` holds arrays by name (any safetensors reader opens it), `state.json` all that
is not an array, and `manifest.json` size and checksum of both. The manifest is written last, whole
or not at all, on disks and object stores: half a checkpoint never looks like a whole one. Nothing
is pickled.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tfbert.io.paths import AnyPath, as_path
from tfbert.io.storage import read_file, write_file
from tfbert.io.whole import remove, write_bytes

TENSORS_FILE = "tensors.safetensors"
STATE_FILE = "state.json"
MANIFEST_FILE = "manifest.json"
_FORMAT = 1
_NAME = re.compile(r"step-(\d{10})(?:\.(\d+))?")
_PHASE = re.compile(r"phase-(\d+)")

# safetensors' names of NumPy's types.
_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


class DamagedCheckpoint(Exception):
    """A checkpoint cannot be used; the message says why."""


def write_checkpoint(
    folder: AnyPath, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Writes a checkpoint; one that is in the folder is removed first.

    Args:
        folder: Local or `gs://`.
        tensors: `{name: array}`.
        state: What `json` can write.

    Raises:
        OSError: If the system refuses, a full disk for example.
    """
    folder = as_path(folder)
    remove(folder / MANIFEST_FILE)
    remove(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[Any]] = {
        TENSORS_FILE: [_header(tensors), *tensors.values()],
        STATE_FILE: [json.dumps(state, indent=1).encode()],
    }
    files = {name: write_file(folder / name, pieces)._asdict() for name, pieces in parts.items()}
    content = {"format": _FORMAT, "files": files}
    manifest = json.dumps({**content, "crc32": _crc32_of(content)}, indent=1)
    write_bytes(folder / MANIFEST_FILE, manifest.encode())


def read_checkpoint(folder: AnyPath) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads a checkpoint, and checks that all of it is undamaged.

    Returns:
        `{name: array}` and the state, as they were given to `write_checkpoint`.

    Raises:
        DamagedCheckpoint: If anything of it is missing, cut short or changed.
    """
    contents = _read_files(folder, [TENSORS_FILE, STATE_FILE])
    return _parse_tensors(contents[TENSORS_FILE]), json.loads(contents[STATE_FILE].tobytes())


def read_state(folder: AnyPath) -> dict[str, Any]:
    """As `read_checkpoint`, the state alone, which is small; the tensors are not looked at."""
    return json.loads(_read_files(folder, [STATE_FILE])[STATE_FILE].tobytes())


def has_manifest(folder: AnyPath) -> bool:
    """Whether the folder was once a whole checkpoint."""
    return (as_path(folder) / MANIFEST_FILE).exists()


def checkpoint_path(directory: AnyPath, step: int, attempt: int = 0) -> Path:
    """The folder of the checkpoint after so many updates, in the folder of all checkpoints.

    A second one after the same updates (at the end of an epoch, after one that was due) has a
    folder of its own, so that the first is kept until the second is complete.
    """
    return as_path(directory) / (f"step-{step:010d}" + (f".{attempt}" if attempt else ""))


def checkpoint_keys(directory: AnyPath) -> list[tuple[int, int]]:
    """(step, attempt) of all folders that have the name of a checkpoint, in ascending order."""
    matches = map(_NAME.fullmatch, _names(directory))
    return sorted((int(match[1]), int(match[2] or 0)) for match in matches if match)


def phase_folder(directory: AnyPath, number: int) -> Path:
    """Folder of the checkpoints of a run's phase, counted from 0: `phase-1` is the first.

    A phase ends with a checkpoint, from which the next one begins. The updates in the checkpoints'
    names are those of the run, over all phases.
    """
    return as_path(directory) / f"phase-{number + 1}"


def last_written(directory: AnyPath) -> dict[str, Any] | None:
    """The newest checkpoint of a run, by its name and the time of its manifest.

    Args:
        directory: Folder of checkpoints, or of the folders of phases.

    Returns:
        `{"step": ..., "time": ...}`; None without one.
    """
    phases = [match for name in _names(directory) if (match := _PHASE.fullmatch(name))]
    phases.sort(key=lambda match: int(match[1]), reverse=True)
    for folder in (directory, *(as_path(directory) / match[0] for match in phases)):
        for key in reversed(checkpoint_keys(folder)):
            manifest = checkpoint_path(folder, *key) / MANIFEST_FILE
            if manifest.exists():
                return {"step": key[0], "time": manifest.stat().st_mtime_ns / 1e9}
    return None


def _names(folder: AnyPath) -> list[str]:
    """Names in a folder; none where there is no folder."""
    folder = as_path(folder)
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _read_files(folder: AnyPath, wanted: list[str]) -> dict[str, np.ndarray]:
    name = MANIFEST_FILE
    try:
        recorded = _read_manifest(as_path(folder) / MANIFEST_FILE)
        contents = {}
        for name in wanted:
            contents[name], digest = read_file(as_path(folder) / name)
            if digest._asdict() != recorded.get(name):
                raise DamagedCheckpoint(f"{name} is not what was written")
    except OSError as error:
        raise DamagedCheckpoint(f"{name} is missing or cannot be read ({error})") from error
    return contents


def _read_manifest(path: Path) -> dict[str, dict[str, int]]:
    """`{file: {size, crc32}}`."""
    content, _ = read_file(path)
    try:
        manifest = json.loads(content.tobytes())
        crc32 = manifest.pop("crc32")
        sound = crc32 == _crc32_of(manifest)
        version, files = manifest["format"], manifest["files"]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedCheckpoint(f"{MANIFEST_FILE} is damaged") from error
    if not sound:
        raise DamagedCheckpoint(f"{MANIFEST_FILE} is damaged")
    if version != _FORMAT:
        raise DamagedCheckpoint(f"its format {version} is not known to this version of tfbert")
    return files


def _crc32_of(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _header(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The beginning of a safetensors file: its length, and where each tensor is."""
    entries, end = {}, 0
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        dtype = _DTYPES[array.dtype.name]
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text


def _parse_tensors(content: np.ndarray) -> dict[str, np.ndarray]:
    dtypes = {code: name for name, code in _DTYPES.items()}
    length = int.from_bytes(content[:8].tobytes(), "little")
    data = content[8 + length :]
    tensors = {}
    for name, entry in json.loads(content[8 : 8 + length].tobytes()).items():
        begin, end = entry["data_offsets"]
        name_of_type = dtypes[entry["dtype"]]
        dtype = ml_dtypes.bfloat16 if name_of_type == "bfloat16" else np.dtype(name_of_type)
        tensors[name] = data[begin:end].view(dtype).reshape(entry["shape"])
    return tensors

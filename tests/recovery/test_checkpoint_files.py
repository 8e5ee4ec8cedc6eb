import json
import shutil
import zlib

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from tfbert.recovery.checkpoint_files import (
    MANIFEST_FILE,
    STATE_FILE,
    TENSORS_FILE,
    DamagedCheckpoint,
    read_checkpoint,
    read_state,
    write_checkpoint,
)

random = np.random.default_rng(7)
TENSORS = {
    "model/kernel": random.normal(size=(37, 11)).astype(np.float32),
    "model/empty": np.zeros((0, 4), np.float32),
    "model/half": random.normal(size=(3,)).astype(np.float16),
    "model/brain": random.normal(size=(5,)).astype(ml_dtypes.bfloat16),
    "model/flag": np.array([True, False, True]),
    "optimizer/iteration": np.array(123456789012, np.int64),
    "metrics/loss/total@1": np.array(np.float32(0.1)),
}
STATE = {"epoch": 3, "history": {"loss": [0.1, float("inf")]}, "name": "naïve"}


def assert_same(tensors, expected):
    assert tensors.keys() == expected.keys()
    for name, array in expected.items():
        assert tensors[name].dtype == array.dtype
        assert tensors[name].shape == array.shape
        assert tensors[name].tobytes() == array.tobytes()


def test_what_was_written_is_read_bit_by_bit(place):
    folder = place / "step-1"
    for state in ({}, STATE):  # the second takes the place of the first
        write_checkpoint(folder, TENSORS, state)
        tensors, read = read_checkpoint(folder)
        assert_same(tensors, TENSORS)
        assert read == state == read_state(folder)


def test_any_safetensors_reader_opens_the_tensors(tmp_path):
    write_checkpoint(tmp_path, TENSORS, STATE)
    assert_same(load_file(tmp_path / TENSORS_FILE), TENSORS)


def test_without_its_manifest_it_is_none(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, TENSORS, {"step": 1})
    monkeypatch.setattr("tfbert.recovery.checkpoint_files.write_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_checkpoint(tmp_path, TENSORS, {"step": 2})
    assert {path.name for path in tmp_path.iterdir()} == {TENSORS_FILE, STATE_FILE}
    with pytest.raises(DamagedCheckpoint, match=f"{MANIFEST_FILE} is missing"):
        read_checkpoint(tmp_path)


def flipped(content, position):
    """With one bit changed in the byte at a share of the length."""
    content = bytearray(content)
    content[int(position * (len(content) - 1))] ^= 0x10
    return content


def changed(change):
    """A damage that writes a function of the content."""
    return lambda path, other: path.write_bytes(change(path.read_bytes()))


def become_a_folder(path, other):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "missing": lambda path, other: path.unlink(),
    "emptied": changed(lambda content: b""),
    "cut to half": changed(lambda content: content[: len(content) // 2]),
    "last byte lost": changed(lambda content: content[:-1]),
    "first byte flipped": changed(lambda content: flipped(content, 0)),
    "a byte flipped early": changed(lambda content: flipped(content, 0.2)),
    "a byte flipped late": changed(lambda content: flipped(content, 0.8)),
    "zeros": changed(lambda content: bytes(len(content))),
    "of another checkpoint": lambda path, other: shutil.copyfile(other / path.name, path),
    "a folder": become_a_folder,
}


@pytest.mark.parametrize("file", [TENSORS_FILE, STATE_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_never_taken_for_data(tmp_path, file, damage):
    """30 cases; the other checkpoint has files of the same lengths, too."""
    one, other = tmp_path / "one", tmp_path / "other"
    write_checkpoint(one, TENSORS, STATE)
    write_checkpoint(other, {**TENSORS, "model/flag": np.array([False] * 3)}, {**STATE, "epoch": 4})
    damage(one / file, other)
    with pytest.raises(DamagedCheckpoint):
        read_checkpoint(one)


def test_a_later_format_is_named(tmp_path):
    write_checkpoint(tmp_path, TENSORS, STATE)
    manifest = json.loads((tmp_path / MANIFEST_FILE).read_text())
    content = {"format": 2, "files": manifest["files"]}
    checksum = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    (tmp_path / MANIFEST_FILE).write_text(json.dumps({**content, "crc32": checksum}))
    with pytest.raises(DamagedCheckpoint, match="its format 2 is not known"):
        read_checkpoint(tmp_path)

import json
import shutil

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


def test_what_was_written_is_read_bit_by_bit(tmp_path):
    write_checkpoint(tmp_path / "step-1", TENSORS, STATE)
    tensors, state = read_checkpoint(tmp_path / "step-1")
    assert_same(tensors, TENSORS)
    assert state == STATE == read_state(tmp_path / "step-1")


def test_any_safetensors_reader_opens_the_tensors(tmp_path):
    write_checkpoint(tmp_path, TENSORS, STATE)
    assert_same(load_file(tmp_path / TENSORS_FILE), TENSORS)


def test_an_object_store_does_as_well(object_store):
    folder = "gs://bucket/run/step-1"
    write_checkpoint(folder, TENSORS, {})
    write_checkpoint(folder, TENSORS, STATE)
    tensors, state = read_checkpoint(folder)
    assert_same(tensors, TENSORS)
    assert state == STATE


def test_without_its_manifest_it_is_none(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, TENSORS, {"step": 1})
    monkeypatch.setattr("tfbert.recovery.checkpoint_files.write_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_checkpoint(tmp_path, TENSORS, {"step": 2})
    assert {path.name for path in tmp_path.iterdir()} == {TENSORS_FILE, STATE_FILE}
    with pytest.raises(DamagedCheckpoint, match=f"{MANIFEST_FILE} is missing"):
        read_checkpoint(tmp_path)


def flip(position):
    def damage(path, other):
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return damage


def cut(share, less=0):
    def damage(path, other):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content)) - less])

    return damage


def become_a_folder(path, other):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "missing": lambda path, other: path.unlink(),
    "emptied": cut(0),
    "cut to half": cut(0.5),
    "last byte lost": cut(1, less=1),
    "first byte flipped": flip(0),
    "a byte flipped early": flip(0.2),
    "a byte flipped late": flip(0.8),
    "zeros": lambda path, other: path.write_bytes(bytes(path.stat().st_size)),
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
    import zlib

    write_checkpoint(tmp_path, TENSORS, STATE)
    manifest = json.loads((tmp_path / MANIFEST_FILE).read_text())
    content = {"format": 2, "files": manifest["files"]}
    checksum = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    (tmp_path / MANIFEST_FILE).write_text(json.dumps({**content, "crc32": checksum}))
    with pytest.raises(DamagedCheckpoint, match="its format 2 is not known"):
        read_checkpoint(tmp_path)

"""Records that Google's script wrote, and files that are not records."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers.google_records import write_like_google
from helpers.small_records import LENGTH, assert_same, read, restore, rows

from tfbert.errors import InputError
from tfbert.records.record_source import open_records
from tfbert.records.tfrecords import read_frames


@pytest.fixture(scope="module")
def googles(prepared, tmp_path_factory):
    """(folder of records as Google's script writes them, what they hold)."""
    folder = tmp_path_factory.mktemp("googles")
    batch = read(prepared["fixed"], 60).batch(0)
    for number, begin in enumerate((0, 20, 40)):
        part = {name: values[begin : begin + 20] for name, values in batch.items()}
        compression = "GZIP" if number == 1 else ""
        write_like_google(folder / f"tf_examples.tfrecord{number}", part, compression)
    return folder, batch


def test_records_of_googles_script(googles):
    folder, batch = googles
    source = open_records(folder)
    assert source.length == LENGTH and source.masker is None
    assert_same(read(folder, 60, shuffle=False).batch(0), batch)
    assert sorted(rows([read(folder, 60).batch(0)])) == sorted(rows([batch]))
    single = read(folder / "tf_examples.tfrecord1", 20, shuffle=False)
    assert (single.batch(0)["mask_ids"] == batch["mask_ids"][20:40]).all()


def test_records_without_masks_get_dynamic_ones(googles, vocabulary_file, tmp_path):
    _, batch = googles
    unmasked = {"token_ids": restore(batch), "padding_mask": batch["padding_mask"]}
    path = tmp_path / "unmasked.tfrecord"
    write_like_google(path, unmasked)
    with pytest.raises(InputError, match="hold no masks, and drawing them needs --vocab"):
        open_records(path)
    found = read(path, 60, vocabulary_file, shuffle=False).batch(0)
    assert (restore(found) == unmasked["token_ids"]).all()
    assert (found["mask_weights"].sum(axis=1) >= 1).all()


def test_damaged_records(googles, tmp_path):
    folder = shutil.copytree(googles[0], tmp_path / "copy")
    path = folder / "tf_examples.tfrecord0"
    data = bytearray(path.read_bytes())
    frames = read_frames(path)
    data[frames.offsets[4] + 30] ^= 1
    path.write_bytes(data)
    records = read(folder, 60, shuffle=False)
    found = records.batch(0)["token_ids"]
    assert (found[4] == googles[1]["token_ids"][5]).all()
    assert records.damages[0].records == 1


def test_a_record_of_another_length_is_damage(googles, tmp_path):
    _, batch = googles
    with tf.io.TFRecordWriter(str(tmp_path / "mixed.tfrecord")) as writer:
        for width in (LENGTH, LENGTH - 1, LENGTH):
            part = {name: values[:1, :width] for name, values in batch.items() if values.ndim > 1}
            write_like_google(tmp_path / "one", part)
            frames = read_frames(tmp_path / "one")
            writer.write(frames.data[frames.offsets[0] :][: frames.lengths[0]].tobytes())
    records = read(tmp_path / "mixed.tfrecord", 3, shuffle=False)
    assert records.batch(0)["token_ids"].shape == (3, LENGTH)
    assert records.damages[0].records == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "no dataset.json; `tfbert prepare` makes such folders"),
        (lambda path: path.write_bytes(b""), "holds no train examples"),
        (lambda path: path.write_text("no record"), "is not a record file .no record begins"),
        (
            lambda path: write_like_google(path, {"token_ids": np.zeros((1, 4), int)}, packed=True),
            "packed bytes of unknown type; such records need the dataset.json",
        ),
        (
            lambda path: write_like_google(path, {"segment_ids": np.zeros((1, 4), int)}),
            "no feature input_ids or token_ids; it has segment_ids",
        ),
        (
            lambda path: tf.io.TFRecordWriter(str(path)).write(b"\xff\xff no example"),
            "holds no tf.train.Example records",
        ),
    ],
)
def test_files_that_are_not_records(change, message, tmp_path):
    path = tmp_path / "records"
    change(path)
    with pytest.raises(InputError, match=message):
        open_records(path)


@pytest.mark.parametrize("masked", [False, True])
def test_a_vocabulary_too_small_for_the_records(googles, tmp_path, masked):
    path, small = tmp_path / "records.tfrecord", tmp_path / "small.txt"
    batch = googles[1] if masked else {"token_ids": restore(googles[1])}
    write_like_google(path, batch)
    small.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    records = read(path, 4, small)
    with pytest.raises(InputError, match="and the vocabulary has 6 word pieces"):
        records.batch(0)

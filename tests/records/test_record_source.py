"""Records that Google's script wrote, and files that are not records."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers.google_records import MODEL_GARDENS_NAMES, write_like_google
from helpers.small_records import LENGTH, assert_same, read, restore, rows

from tfbert.errors import InputError
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import find_dataset, open_prepared, open_records
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


def test_records_of_the_model_garden(googles, tmp_path):
    folder, batch = googles
    write_like_google(tmp_path / "a.tfrecord", batch, names=MODEL_GARDENS_NAMES)
    assert_same(read(tmp_path, 60, shuffle=False).batch(0), batch)
    # Both kinds in one folder.
    shutil.copy(folder / "tf_examples.tfrecord0", tmp_path / "b.tfrecord")
    message = r"mixed records: a\.tfrecord has .*input_word_ids \(32\).* b\.tfrecord has input_ids"
    with pytest.raises(InputError, match=message):
        open_records(tmp_path)


def test_lengths_by_file(googles, tmp_path):
    _, batch = googles
    shorter = {name: v[:, :16] if v.shape[1:] == (LENGTH,) else v for name, v in batch.items()}
    write_like_google(tmp_path / "long.tfrecord", batch)
    write_like_google(tmp_path / "short.tfrecord", shorter)
    assert open_records(tmp_path).length == 16
    long = PretrainingRecords(open_records(tmp_path, LENGTH), 60, shuffle=False)
    assert_same(long.batch(0), batch)
    with pytest.raises(InputError, match="its sequences have 16, 32 tokens, not 64"):
        open_records(tmp_path, 64)
    fewer = {name: v[:, :3] if name.startswith("mask_") else v for name, v in batch.items()}
    write_like_google(tmp_path / "other.tfrecord", fewer)
    with pytest.raises(InputError, match=r"mixed records: long\.tfrecord has .* and other\.tf"):
        open_records(tmp_path)


def test_what_is_left_out_of_records_is_filled_in(googles, tmp_path):
    _, batch = googles
    del_names = ("segment_ids", "padding_mask", "next_sentence_labels")
    part = {name: values for name, values in batch.items() if name not in del_names}
    write_like_google(tmp_path / "a.tfrecord", part)
    found = read(tmp_path, 60, shuffle=False).batch(0)
    assert (found["padding_mask"] == batch["padding_mask"]).all()
    assert not found["segment_ids"].any() and "next_sentence_labels" not in found
    del part["mask_weights"]
    write_like_google(tmp_path / "a.tfrecord", part)
    with pytest.raises(InputError, match="only some of the masks' features: input_ids, masked_lm"):
        open_records(tmp_path)


def test_what_is_needed_to_train_on_records(googles, prepared, vocabulary_file, tmp_path):
    folder, batch = googles
    dataset = find_dataset(folder, vocabulary_file)
    assert dataset["options"] | {"max_predictions": None} == {
        "lengths": [LENGTH],
        "masking": "fixed",
        "max_predictions": None,
        "sequences": "pairs",
        "lowercase": True,
    }
    source = open_prepared(folder, dataset, "train", LENGTH)
    assert source.predictions == batch["mask_positions"].shape[1]
    with pytest.raises(InputError, match=r"its masks are fixed, .* not 3: leave predictions out"):
        open_prepared(folder, dataset, "train", LENGTH, 3)
    with pytest.raises(InputError, match=r"records of another program, .* give --vocab"):
        find_dataset(folder)
    with pytest.raises(InputError, match="holds its own vocabulary; leave the option out"):
        find_dataset(prepared["fixed"], vocabulary_file)
    unmasked = {"token_ids": restore(batch)}
    write_like_google(tmp_path / "a.tfrecord", unmasked)
    cased = tmp_path / "cased.txt"
    cased.write_text(vocabulary_file.read_text() + "##ING\n")
    dataset = find_dataset(tmp_path, cased)
    assert dataset["options"]["masking"] == "dynamic" and not dataset["options"]["lowercase"]
    assert open_prepared(tmp_path, dataset, "train", LENGTH, 3).predictions == 3


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

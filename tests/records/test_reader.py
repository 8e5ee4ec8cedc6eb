import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.small_records import LENGTH, assert_same, read, restore, rows

from tfbert.errors import InputError
from tfbert.records.description import read_dataset
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_source import open_records
from tfbert.records.tfrecords import Layout, compress, read_frames


@pytest.fixture
def copy(prepared, tmp_path):
    """A folder of records to damage."""
    return shutil.copytree(prepared["none"], tmp_path / "copy")


def read_epochs(records, epochs=1):
    return [records.batch(step) for step in range(epochs * records.examples // records.batch_size)]


def all_rows(directory):
    """Every row of token ids as it stands in the files, in their order."""
    dataset = read_dataset(directory)
    layout = Layout(dataset["features"][str(LENGTH)])
    found = []
    for shard in dataset["shards"]:
        if (shard["split"], shard["length"]) == ("train", LENGTH):
            frames = read_frames(Path(directory) / shard["file"])
            arrays, _ = layout.decode(frames.data, frames.offsets, frames.lengths)
            found += [bytes(row) for row in arrays["token_ids"].astype(np.int32)]
    return found


@pytest.mark.parametrize("window", [1, 3, 100])
def test_each_epoch_holds_everything_once_in_an_order_of_its_own(prepared, window):
    everything = all_rows(prepared["none"])
    records = read(prepared["none"], len(everything), seed=3, window=window)
    assert records.examples == len(everything) > 500
    epochs = [rows([batch]) for batch in read_epochs(records, 3)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(everything)
    assert epochs[0] != epochs[1] != epochs[2] != everything
    moved = np.mean([a != b for a, b in zip(epochs[0], epochs[1], strict=True)])
    assert moved > 0.9


def test_order_of_the_files(prepared):
    records = read(prepared["none"], 1, shuffle=False, window=3)
    assert rows(read_epochs(records)) == all_rows(prepared["none"])


@pytest.mark.parametrize("masking", ["none", "dynamic", "fixed"])
def test_all_sequences_unmasked(prepared, masking):
    """The same text in the same order, however it is masked."""
    records = read(prepared[masking], 64)
    found = [sequences.astype(np.int32) for sequences in records.sequences()]
    assert len(found) > 1
    assert [bytes(row) for sequences in found for row in sequences] == all_rows(prepared["none"])


@pytest.mark.parametrize("batch_size", [7, 64, 2000])
def test_batches_go_on_over_the_end_of_an_epoch(prepared, batch_size):
    one_by_one = read(prepared["none"], 1, seed=1)
    stream = rows(one_by_one.batch(step) for step in range(2 * one_by_one.examples))
    records = read(prepared["none"], batch_size, seed=1)
    for step in (0, -(-records.examples // batch_size) - 1, 1):
        expected = stream[step * batch_size : (step + 1) * batch_size]
        found = rows([records.batch(step)])
        assert len(found) == batch_size
        assert found[: len(expected)] == expected


@pytest.mark.parametrize("masking", ["dynamic", "fixed"])
def test_a_batch_is_a_function_of_its_number(prepared, masking):
    """Any order of reading, a fresh reader, a run that goes on in the middle: the same batch."""
    records, fresh = (read(prepared[masking], 8, seed=5, window=2) for _ in range(2))
    batches = [records.batch(step) for step in range(100)]
    for step in (99, 3, 50, 51, 0):
        assert_same(fresh.batch(step), batches[step])


def test_names_shapes_and_types(prepared):
    batch = read(prepared["dynamic"], 4).batch(0)
    assert {name: (values.shape, values.dtype.name) for name, values in batch.items()} == {
        "token_ids": ((4, LENGTH), "int32"),
        "segment_ids": ((4, LENGTH), "int32"),
        "padding_mask": ((4, LENGTH), "int32"),
        "next_sentence_labels": ((4,), "int32"),
        "mask_positions": ((4, 5), "int32"),
        "mask_ids": ((4, 5), "int32"),
        "mask_weights": ((4, 5), "float32"),
    }
    assert "mask_ids" not in read(prepared["none"], 4).batch(0)


@pytest.mark.parametrize(("masking", "changing"), [("dynamic", True), ("fixed", False)])
def test_dynamic_masks_are_new_each_epoch_and_fixed_ones_are_not(prepared, masking, changing):
    everything = sorted(all_rows(prepared["none"]))
    epochs = read_epochs(read(prepared[masking], len(everything)), 2)
    for epoch in epochs:
        assert sorted(map(bytes, restore(epoch))) == everything
    first, second = (set(rows([epoch])) for epoch in epochs)
    assert len(first & second) / len(first) < 0.5 if changing else first == second


def test_other_seeds_give_other_orders_and_masks(prepared):
    first, second = (restore(read(prepared["dynamic"], 50, seed=seed).batch(0)) for seed in (0, 1))
    assert (first != second).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("length", [32, 64])
def test_validation_and_other_lengths(prepared, split, length):
    records = PretrainingRecords(open_records(prepared["dynamic"], length, split), 1)
    counts = read_dataset(prepared["dynamic"])["splits"][split]["sequences"][str(length)]
    assert records.examples == counts["examples"]
    assert records.batch(0)["token_ids"].shape == (1, length)


def train_files(directory):
    return sorted(Path(directory).glob(f"train-{LENGTH}-*"))


def damage_record(path, number):
    data = bytearray(gzip.decompress(path.read_bytes()))
    frames = read_frames(path)
    data[frames.offsets[number] + frames.lengths[number] // 2] ^= 1
    path.write_bytes(compress(bytes(data)))


def test_a_damaged_record_is_named_counted_and_passed_over(copy, prepared, caplog):
    path = train_files(copy)[1]
    damage_record(path, 3)
    damage_record(path, 7)
    records = read(copy, 1, shuffle=False)
    found = rows(read_epochs(records, 2))
    expected = all_rows(prepared["none"])
    first = open_records(copy).shards[0].examples
    for lost in (3, 7):  # the next sound record stands in
        expected[first + lost] = expected[first + lost + 1]
    assert found == expected * 2
    (damage,) = records.damages
    assert (damage.path, damage.records) == (path, 2)
    assert f"{path}: 2 damaged records: number 3, 7" in caplog.text


def test_a_shard_cut_short_loses_its_end_only(copy):
    path = train_files(copy)[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    records = read(copy, 1, shuffle=False)
    read_epochs(records)
    (damage,) = records.damages
    assert 0 < damage.records < open_records(copy).shards[0].examples
    assert damage.what.endswith("; the compressed file is cut off")


def test_a_shard_with_nothing_sound_in_it_is_fatal(copy):
    train_files(copy)[0].write_bytes(b"")
    with pytest.raises(InputError, match="damaged records"):
        read(copy, 1, shuffle=False).batch(0)


def test_folders_that_are_not_whole(copy):
    description = (copy / "dataset.json").read_text()

    def refused(message, content=None, **options):
        if content is not None:
            (copy / "dataset.json").write_text(content)
        with pytest.raises(InputError, match=message):
            open_records(copy, **options)

    refused("no records of length 77; there are 32, 64", length=77)
    train_files(copy)[1].unlink()
    refused(r"train-32-00001.*: this shard is missing")
    other = description.replace("records 1", "records 9")
    refused("format 'tfbert pre-training records 9' is not", other)
    refused("damaged, not JSON", "{")
    refused("is not a description of records", f"[{description}]")
    (copy / "dataset.json").unlink()
    copy.with_name(f"{copy.name}.unfinished").mkdir()
    refused("`tfbert prepare` is not finished here")


@pytest.mark.parametrize("name", ["batch_size", "window"])
def test_bad_options(prepared, name):
    with pytest.raises(InputError, match=f"{name} is 0: it must be at least 1"):
        read(prepared["none"], **{"batch_size": 4, name: 0})


def test_batches_are_numbered_from_zero(prepared):
    with pytest.raises(InputError, match="batch -1: batches are numbered from 0"):
        read(prepared["none"], 4).batch(-1)


def test_an_exchanged_vocabulary(copy):
    path = copy / "vocab.txt"
    path.write_text(path.read_text() + "another\n")
    with pytest.raises(InputError, match=r"vocab.txt: is not the vocabulary of these records"):
        open_records(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dataset: dataset.pop("features"), "'features' is missing"),
        (lambda dataset: dataset["features"].pop("64"), "the features of length 64 are missing"),
        (lambda dataset: dataset["shards"][0].pop("sha256"), "a shard is half described"),
    ],
)
def test_a_damaged_description(copy, change, message):
    path = copy / "dataset.json"
    dataset = json.loads(path.read_text())
    change(dataset)
    path.write_text(json.dumps(dataset))
    with pytest.raises(InputError, match=message):
        open_records(copy)

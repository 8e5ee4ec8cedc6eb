import dataclasses
import gzip
import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tokenizers import BertWordPieceTokenizer

from tfbert.cli import main
from tfbert.randomness import make_key, permutation
from tfbert.records.description import read_dataset
from tfbert.records.prepare import prepare


def read_shards(directory, split="train", length=64):
    """All examples of a split, in the order of the text, read with TensorFlow."""
    dataset = read_dataset(directory)
    arrays = []
    for shard in dataset["shards"]:
        if (shard["split"], shard["length"]) != (split, length):
            continue
        specification = {
            name: tf.io.FixedLenFeature([], tf.string) for name in dataset["features"][str(length)]
        }
        records = tf.data.TFRecordDataset(str(Path(directory) / shard["file"]), "GZIP")
        parsed = tf.io.parse_example(list(records.as_numpy_iterator()), specification)
        assert len(parsed["token_ids"]) == shard["examples"]
        decoded = {}
        for name, (kind, shape) in dataset["features"][str(length)].items():
            decoded[name] = tf.io.decode_raw(parsed[name], kind).numpy().reshape(-1, *shape)
        number = int(shard["file"].split("-")[2].split(".")[0])
        key = make_key("order", dataset["options"]["seed"], split, number, length)
        order = np.argsort(permutation(key, shard["examples"]))
        arrays.append({name: values[order] for name, values in decoded.items()})
    return {name: np.concatenate([shard[name] for shard in arrays]) for name in arrays[0]}


@pytest.fixture
def records_of(configure):
    """What `read_shards` finds in records prepared with the options of `configure`."""

    def records_of(*text, split="train", **options):
        config = configure(*text, **options)
        prepare(config)
        return read_shards(config.output, split, config.lengths[0])

    return records_of


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"masking": "fixed", "dupe_factor": 2, "validation_fraction": 0.2, "lengths": [32, 64]},
        pytest.param({"sequences": "filled", "keep_duplicates": True}, marks=pytest.mark.slow),
    ],
)
def test_output_does_not_depend_on_the_number_of_workers(configure, tmp_path, options, files_of):
    outputs = []
    for count in (1, 3):  # two workers: `test_command`
        directory = tmp_path / str(count)
        prepare(configure(output=str(directory), workers=count, **options))
        outputs.append(files_of(directory))
    assert len(outputs[0]) > 6
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("sequences", ["sentences", "filled"])
def test_text_in_is_text_out(records_of, vocabulary, text_file, sequences):
    """Over document, shard and worker borders: the tokens of the text, none lost, none doubled."""
    found = records_of(
        sequences=sequences, short_probability=0.2, validation_fraction=0.0, workers=2
    )["token_ids"].ravel()
    inside = found[~np.isin(found, [vocabulary.cls, vocabulary.sep, vocabulary.pad])]
    reference = BertWordPieceTokenizer(dict(vocabulary.ids))
    encoded = reference.encode(text_file.read_text(), add_special_tokens=False)
    assert inside.tolist() == encoded.ids
    pieces = " ".join(vocabulary.pieces[i] for i in inside).replace(" ##", "")
    assert pieces.replace(" ", "") == "".join(text_file.read_text().lower().split())


def test_pairs_of_two_documents_when_random_and_of_one_when_not(configure, vocabulary):
    """Each document of the text says its number in every sentence."""
    text = "\n".join(f"{i} is here. We know {i} well. Say {i}! " * 9 for i in range(1000, 1200))
    config = configure(text, workers=2, validation_fraction=0.2)
    prepare(config)
    seen, held = Counter(), []
    for split in ("train", "validation"):
        arrays = read_shards(config.output, split)
        in_split = set()
        for tokens, segments, label in zip(
            arrays["token_ids"], arrays["segment_ids"], arrays["next_sentence_labels"], strict=True
        ):
            numbers = []
            for segment in (0, 1):
                pieces = [vocabulary.pieces[i] for i in tokens[segments == segment]]
                words = " ".join(pieces).replace(" ##", "").split()
                numbers.append({word for word in words if word.isdigit()})
            in_split |= {word for word in numbers[0] | numbers[1] if len(word) == 4}
            if all(len(found) == 1 for found in numbers):  # cutting leaves parts of numbers
                assert (numbers[0] != numbers[1]) == label
                seen[int(label)] += 1
        held.append(in_split)
    assert min(seen.values()) > 200
    # Documents that are held out are not in training.
    assert len(held[0]) > 120 and len(held[1]) > 20 and not held[0] & held[1]


def test_half_of_the_next_sentences_are_random(configure):
    counts = prepare(configure(dupe_factor=5))["splits"]["train"]["sequences"]["64"]
    assert counts["examples"] > 5000
    share = stats.binomtest(counts["random_next"], counts["examples"], 0.5)
    assert share.pvalue > 0.001


def test_fixed_masks_fulfil_berts_rule(records_of, vocabulary):
    arrays = records_of(masking="fixed", mask_fraction=0.2, max_predictions=[10])
    tokens = arrays["padding_mask"].sum(axis=1)
    wanted = [min(10, max(1, round(0.2 * n))) for n in tokens.tolist()]
    counts = arrays["mask_weights"].sum(axis=1)
    # Whole words of the text: a number of five digits may not fit in at the end.
    assert (counts <= wanted).all() and (counts == wanted).mean() > 0.97
    rows, slots = np.nonzero(arrays["mask_weights"])
    now = arrays["token_ids"][rows, arrays["mask_positions"][rows, slots]]
    assert 0.75 < (now == vocabulary.mask).mean() < 0.85


def test_each_copy_has_pairs_of_its_own(records_of):
    token_ids = records_of(dupe_factor=3, shard_mb=1.0, masking="none")["token_ids"]
    assert len(set(map(bytes, token_ids))) > 0.9 * len(token_ids)


def test_several_lengths_each_hold_the_text(configure):
    config = configure(lengths=[32, 128, 64], sequences="filled", short_probability=0.0)
    dataset = prepare(config)
    for length in config.lengths:
        arrays = read_shards(config.output, length=length)
        assert arrays["token_ids"].shape[1] == length
        found = dataset["splits"]["train"]["sequences"][str(length)]
        assert found["examples"] == len(arrays["token_ids"])
        padding = 1 - arrays["padding_mask"].mean()
        assert found["padding_fraction"] == pytest.approx(padding, abs=1e-6)
        assert padding < 0.03


def test_description(configure, text_file, vocabulary_file):
    lines = text_file.read_text().split("\n")
    config = configure("\n".join(lines + lines[:7]), validation_fraction=0.25)
    dataset = prepare(config)
    assert dataset == json.loads((Path(config.output) / "dataset.json").read_text())
    assert dataset["input"]["documents"] == 407 and dataset["input"]["duplicates"] == 7
    splits = dataset["splits"]
    assert splits["train"]["documents"] + splits["validation"]["documents"] == 400
    assert 60 < splits["validation"]["documents"] < 140
    assert dataset["options"]["validation_fraction"] == 0.25
    assert "workers" not in dataset["options"]
    reference = BertWordPieceTokenizer(str(vocabulary_file))
    tokens = sum(len(e.ids) for e in reference.encode_batch(lines, add_special_tokens=False))
    assert splits["train"]["tokens"] + splits["validation"]["tokens"] == tokens
    assert splits["train"]["sentences"] > splits["train"]["documents"]
    for shard in dataset["shards"]:
        packed = (Path(config.output) / shard["file"]).read_bytes()
        assert shard["bytes"] == len(packed)
        assert shard["sha256"] == hashlib.sha256(packed).hexdigest()


def test_duplicates_can_be_kept(configure):
    text = "The movie was good. It was.\n" * 50
    dataset = prepare(configure(text, keep_duplicates=True, validation_fraction=0))
    assert dataset["input"]["duplicates"] == 0
    assert dataset["splits"]["train"]["documents"] == 50


def test_lines_can_be_sentences(configure):
    text = "Mr. A. Said it! so\nThe end\n\nAnother one\nwith two lines\n"
    dataset = prepare(configure(text, documents="blank", sentences="line"))
    assert dataset["splits"]["train"]["sentences"] == 4


def test_command(configure, text_file, vocabulary_file, tmp_path, capsys, files_of):
    output = tmp_path / "by-command"
    command = ["prepare", f"--input={text_file}", "--vocab", str(vocabulary_file)]
    command += ["--lengths", "32", "64", "--shard-mb", "0.02", "--workers=2"]
    assert main([*command, "--output", str(output)]) == 0
    printed = capsys.readouterr()
    assert "400 documents" in printed.out and f"Training records: {output}" in printed.out
    assert "prepare: 100%" in printed.err
    config = configure(lengths=[32, 64])
    prepare(config)
    found = files_of(output)
    assert found == files_of(config.output) and len(found) > 6


def test_standard_input(text_file, vocabulary_file, tmp_path, configure):
    output = tmp_path / "piped"
    command = [sys.executable, "-m", "tfbert", "prepare", "--input", "-", "--output", str(output)]
    command += ["--vocab", str(vocabulary_file), "--shard-mb", "0.02", "--lengths", "64"]
    command += ["--workers", "1"]
    with text_file.open("rb") as file:
        finished = subprocess.run(command, stdin=file, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    shards = read_dataset(output)["shards"]
    assert shards == prepare(configure())["shards"]


@pytest.mark.parametrize(("documents", "name"), [("file", "novels"), ("line", "imdb")])
def test_real_text(real_data, configure, documents, name):
    """Books with byte order marks and CRLF as files, reviews with `<br />` as lines."""
    vocabulary_file = real_data / "bert-base-uncased-vocab.txt"
    options = {"vocab": str(vocabulary_file), "lengths": [128], "shard_mb": 1, "workers": 2}
    with gzip.open(real_data / "imdb" / "unsup.txt.gz", "rt", encoding="utf-8") as file:
        reviews = "".join(next(file) for _ in range(1000))
    config = configure(reviews, documents=documents, validation_fraction=0, **options)
    if name == "novels":
        config = dataclasses.replace(config, input=[str(real_data / "novels" / "C[ho][en]*.txt")])
    counts = prepare(config)["splits"]["train"]
    assert 12 < counts["tokens"] / counts["sentences"] < 35
    assert counts["sequences"]["128"]["padding_fraction"] < 0.2
    pieces = vocabulary_file.read_text("utf-8").split("\n")
    token_ids = read_shards(config.output, length=128)["token_ids"]
    words = Counter(pieces[i] for i in token_ids.ravel())
    assert words["the"] > 1000 and words["[UNK]"] < 0.001 * words.total()
    assert words["<"] < 0.0001 * words.total()

import json
import re

import pytest
from helpers.error_lines import error_line
from helpers.google_records import write_like_google

from tfbert.cli import main
from tfbert.records.description import read_dataset
from tfbert.records.inspection import inspect_lines
from tfbert.records.record_options import InspectConfig

COLORS = re.compile(r"\033\[\d+m")


@pytest.fixture
def records(prepared):
    return prepared["dynamic"]


def show(records, **options):
    return list(inspect_lines(InspectConfig(str(records), **options)))


def examples_of(lines):
    return [line for line in lines if line.startswith("[CLS]")]


def test_statistics_and_examples(records):
    lines = show(records, examples=2)
    text = "\n".join(lines)
    assert "500 documents, 0 of them duplicates (dropped)" in text
    assert "next sentence" in text and "length 32" in text and "% padding" in text
    assert len(examples_of(lines)) == 2
    for line in examples_of(lines):
        assert "→" in line and line.count("[SEP]") == 2 and "[PAD]" not in line
    assert not examples_of(show(records, examples=0))


def test_masks_show_what_was_there(records):
    for line in examples_of(show(records, examples=20, length=64)):
        restored = re.sub(r"\[\S+→(\S+)\]", r"\1", line)
        assert "[MASK]" not in restored
        text = restored.replace(" ##", "")
        assert re.search(r"was (good|\d+)", text) or len(text.split()) < 12


def test_colors_only_where_asked_for(records, monkeypatch):
    plain = show(records)
    colored = show(records, color="always")
    assert not any("\033" in line for line in plain)
    assert [COLORS.sub("", line) for line in colored] == plain
    assert {"\033[31m", "\033[36m", "\033[0m"} <= set(COLORS.findall("".join(colored)))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert show(records) == colored
    assert show(records, color="never") == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert show(records) == plain


def test_seeds_choose_examples(records):
    assert show(records, seed=1) == show(records, seed=1) != show(records, seed=2)


def test_validation_split(records):
    examples = read_dataset(records)["splits"]["validation"]["sequences"]["32"]["examples"]
    assert len(examples_of(show(records, split="validation", examples=10_000))) == examples


def test_json(records, capsys):
    assert main(["inspect", str(records), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_dataset(records)


def test_records_of_others(tmp_path, vocabulary, vocabulary_file, capsys):
    ids = vocabulary.ids
    example = {
        "token_ids": [[vocabulary.cls, vocabulary.mask, ids["good"], vocabulary.sep, 0]],
        "padding_mask": [[1, 1, 1, 1, 0]],
        "segment_ids": [[0, 0, 0, 0, 0]],
        "mask_positions": [[1, 0]],
        "mask_ids": [[ids["movie"], 0]],
        "mask_weights": [[1.0, 0.0]],
        "next_sentence_labels": [[1]],
    }
    path = tmp_path / "examples.tfrecord"
    write_like_google(path, example)
    lines = show(path, vocab=str(vocabulary_file))
    assert lines[-2:] == [
        "4 of 5 tokens, 1 predictions, random next sentence",
        "[CLS] [MASK→movie] good [SEP]",
    ]
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    error = error_line(["inspect", str(path), "--vocab", str(wrong)], capsys)
    assert "the vocabulary has 5 word pieces" in error
    assert show(path)[-1] == f"2 [4→{ids['movie']}] {ids['good']} 3"
    assert json.loads(show(path, json=True)[0]) == {"files": 1, "examples": 1, "length": 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("missing", "missing: no such file or folder"),
        ("", "the following arguments are required: records"),
        ("RECORDS --length 77", "no records of length 77; there are 32, 64"),
        ("RECORDS --examples -1", "--examples is -1: it must be at least 0"),
        ("RECORDS --color blue", "--color is 'blue': it must be one of"),
    ],
)
def test_bad_input_is_one_line(records, options, message, capsys):
    words = [str(records) if word == "RECORDS" else word for word in options.split()]
    assert message in error_line(["inspect", *words], capsys)

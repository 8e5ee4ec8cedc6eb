"""Every kind of wrong input to `finetune`: one line, exit status 2, nothing written."""

import pytest

from tfbert.cli import main

GOOD = "text,label\n" + "a fine day,good\nan awful day,bad\n" * 5


@pytest.mark.parametrize(
    ("train", "dev", "options", "message"),
    [
        (None, None, [], "no such file or folder"),
        ("", GOOD, [], "train.csv: the file is empty"),
        (GOOD, "text,label\n", [], "dev.csv: holds no examples"),
        (
            GOOD,
            GOOD,
            ["--text-column", "review"],
            "no column 'review'; its columns are text, label",
        ),
        (GOOD, "text,label\nmeh,mixed\n", [], "the label 'mixed' of 1 evaluation examples"),
        ("text,label\nx,good\ny,good\n", GOOD, [], "all 2 training examples have the label 'good'"),
        (GOOD + "caf\udce9,good\n", GOOD, [], "train.csv, line 12: byte 0xe9 is not valid utf-8"),
        (GOOD + "only a text\n", GOOD, [], "train.csv, line 12: 1 column, the header has 2"),
        (
            GOOD,
            GOOD,
            ["--model", "bert_huge"],
            "no BERT preset of that name",
        ),
        (GOOD, GOOD, ["--freeze-layers", "3"], "the model has only 2 layers"),
        (GOOD, GOOD, ["--tokens-per-batch", "9"], "9: a single text may have 128 tokens"),
        (GOOD, GOOD, ["--max-length", "9999"], "--max-length 9999: the model ends at 128 tokens"),
        (GOOD, GOOD, ["--class-weights", "[1]"], "--class-weights has 1 numbers for 2 labels"),
        (GOOD, GOOD, ["--encoding", "klingon"], "--encoding klingon: Python knows no such"),
        (GOOD, GOOD, ["--eval-data", "absent.csv"], "absent.csv: no such file"),
    ],
)
def test_one_line_and_status_2(tmp_path, capsys, train, dev, options, message):
    folder = tmp_path / "data"
    for name, content in (("train", train), ("dev", dev)):
        if content is not None:
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    output = tmp_path / "run"
    fixed = ["finetune", "--task", "csv", "--data", str(folder), "--output", str(output)]
    assert main([*fixed, "--model", "embedded", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    errors = [line for line in printed.err.splitlines() if line.startswith("tfbert: error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not output.exists()

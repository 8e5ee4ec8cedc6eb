"""What a command refuses before it imports TensorFlow, which takes seconds."""

import json
import shutil
import subprocess
import sys

from helpers.processes import ROOT

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.tasks.problems.classification import Classification

GOOD = "text,label\n" + "a fine day,good\nan awful day,bad\n" * 5
PROGRAM = """
import json, sys
from tfbert.cli import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 2, words
    print("---", file=sys.stderr)
    assert not {"tensorflow", "keras", "keras_hub"} & set(sys.modules), words
"""


def test_most_mistakes_are_found_without_tensorflow(tmp_path):
    tables = {
        "good": GOOD,
        "columns": GOOD.replace("text", "review"),
        "single": "text,label\nx,good\ny,good\nz,good\n",
        "scores": "text,label\n" + "".join(f"text,{i / 7:.3f}\n" for i in range(40)),
        "unseen": "text,label\nmeh,mixed\n",
    }
    for name, content in tables.items():
        (tmp_path / f"{name}.csv").write_text(content)
    (tmp_path / "empty").mkdir()
    shutil.copytree(MODEL_DIRECTORY, tmp_path / "headed")
    problem = Classification(["bad", "good"], "accuracy").config()
    (tmp_path / "headed" / "problem.json").write_text(json.dumps(problem))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("")
    tune = "finetune --task csv --model embedded --output run --data"
    export = "export --format huggingface --model embedded --output"
    cases = {
        f"{tune} absent.csv": "absent.csv: no such file or folder",
        f"{tune} columns.csv": "no column 'text'; its columns are review, label",
        f"{tune} single.csv": "all 2 training examples have the label 'good'",
        f"{tune} scores.csv": "they look like scores",
        f"{tune} good.csv --eval-data unseen.csv": "the label 'mixed' of 1 evaluation examples",
        f"{tune} good.csv --class-weights 1": "--class-weights has 1 numbers for 2 labels",
        f"{tune} good.csv --model bert_huge": "no BERT preset of that name",
        f"{tune} good.csv --model empty": "model empty: ",
        f"{tune} good.csv --output /proc/x": "--output /proc/x: cannot be written",
        f"{tune} good.csv --output notes": "holds files that are not a run",
        "pretrain --recipe quick --data d --output run --init absent": "model absent: no such dir",
        "evaluate --task csv --data columns.csv --model headed": "no column 'text'",
        "predict --model bert_base_uncased --input good.csv": "did you mean bert_base_en_uncased?",
        f"{export} notes": "holds files that are not an exported model",
        f"{export} /proc/x": "--output /proc/x: cannot be written",
        f"{export} new --model absent": "model absent: no such directory",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([words.split() for words in cases])],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *answers, rest = done.stderr.split("---\n")
    assert rest == ""
    for (words, message), answer in zip(cases.items(), answers, strict=True):
        line = answer.splitlines()[-1]
        assert line.startswith("tfbert: error: ") and message in line, (words, answer)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "empty",
        "headed",
        "notes",
    ]

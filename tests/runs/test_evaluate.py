import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.foreign_models import VARIANTS

from tfbert.errors import InputError
from tfbert.runs.command_options import EvaluateConfig
from tfbert.runs.evaluate import evaluate
from tfbert.runs.export import export
from tfbert.runs.export_options import ExportConfig


def measure(run, **options):
    return evaluate(EvaluateConfig(model=str(run), progress=False, **options))


def check(metrics, expected, rtol):
    np.testing.assert_allclose(metrics.pop("loss"), expected["loss"], rtol=rtol)
    assert metrics == {name: expected[name] for name in metrics}


def test_the_run_itself_knows_what_to_measure(trained_run, trained_metrics):
    check(measure(trained_run), trained_metrics, rtol=1e-6)


def test_a_folder_means_its_evaluation_split_and_a_file_all_its_rows(trained_run, data):
    assert measure(trained_run, data=str(data))["examples"] == 13
    path = str(data / "train.csv")
    assert measure(trained_run, data=path)["examples"] == 60


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 1},
        {"replicas": 2, "batch_size": 4},
        pytest.param({"replicas": 2}, marks=pytest.mark.slow),
    ],
)
def test_two_replicas_and_any_batch_size_give_the_numbers_of_one(
    trained_run, trained_metrics, options
):
    check(measure(trained_run, **options), trained_metrics, rtol=1e-5)


def test_another_task_takes_its_own_columns(trained_run, tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"text": "lovely", "label": "positive"}\n')
    metrics = measure(trained_run, task="jsonl", data=str(path))
    assert metrics["examples"] == 1


def test_what_was_cut_is_said(trained_run, tmp_path, caplog):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"text": "lovely " * 200, "label": "positive"}) + "\n")
    with caplog.at_level("INFO", "tfbert"):
        measure(trained_run, task="jsonl", data=str(path))
    assert "1 of 1 texts are longer than" in caplog.text


def test_a_preset_directory_needs_a_task(trained_run, data):
    model = trained_run / "model"
    with pytest.raises(InputError, match="its task is unknown: give --task"):
        measure(model)
    with pytest.raises(InputError, match="no such directory"):
        measure("nowhere")
    with pytest.raises(InputError, match="--data must be given for --task csv"):
        measure(model, task="csv")
    columns = {"text_column": "review", "label_column": "mood"}
    assert measure(model, task="csv", data=str(data), **columns)["examples"] == 13


def test_the_encoding_of_the_run_is_the_default(trained_run, data, tmp_path):
    """A run whose data is not UTF-8 can be measured again without saying so."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "model").symlink_to(trained_run / "model")
    table = tmp_path / "dev.csv"
    table.write_bytes("review,mood\ncafé,positive\n".encode("latin-1"))
    record = f"task: csv\nresolved: {{eval_data: {table}}}\nencoding: latin-1\n"
    (run / "config.yaml").write_text(record + "text_column: review\nlabel_column: mood\n")
    assert measure(run)["examples"] == 1


def test_a_label_that_the_model_does_not_know(trained_run, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("review,mood\nfine,mixed\n")
    with pytest.raises(InputError, match=r"'mixed' is not among the labels .*negative, positive"):
        measure(trained_run, data=str(path))


@pytest.mark.parametrize("words", ["--model {run} --data absent.csv", "--model absent/run"])
def test_model_and_data_are_looked_for_before_tensorflow_starts(trained_run, words):
    code = (
        "import sys; from tfbert.cli import main\n"
        f"status = main(['evaluate', *{words.format(run=trained_run).split()!r}])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "tfbert: error: " in done.stderr and "absent" in done.stderr


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("multilabel", [["good", "bad"], []]), ("regression", [1.5, 2]), ("tagger", None)],
)
def test_a_model_of_another_program_says_how_labels_are_read(kind, labels, tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"text": "good film", "label": labels and labels[0]}]
    rows.append({"text": "bad", "label": labels and labels[1]})
    if kind == "tagger":
        rows = [{"text": ["good", "film"], "label": ["fair", "bad"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"model": str(VARIANTS / kind), "task": "jsonl", "data": str(path)}
    metrics = evaluate(EvaluateConfig(**options, progress=False))
    assert metrics["problem"] == {"tagger": "tagging"}.get(kind, kind)
    assert metrics["examples"] == len(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "conll"}, "--task conll: is data for tagging, .* trained for classification"),
        ({"task": "squad"}, "--task squad: is data for span, .* trained for classification"),
        ({"text_pair_column": "other"}, "--text-pair-column: .* trained on single texts"),
    ],
)
def test_data_of_another_kind_than_the_model(trained_run, data, options, message):
    with pytest.raises(InputError, match=message):
        measure(trained_run, data=str(data / "train.csv"), **options)


def test_labels_without_names_are_numbers(trained_run, tmp_path):
    """Of a model of Hugging Face's form that says `LABEL_1`, as most that are shared do."""
    folder, table = tmp_path / "unnamed", tmp_path / "dev.tsv"
    export(ExportConfig(model=str(trained_run), output=str(folder), format="huggingface"))
    path = folder / "config.json"
    config = json.loads(path.read_text())
    assert list(config.pop("id2label").values()) == ["negative", "positive"]
    path.write_text(json.dumps({**config, "label2id": None}))
    texts, numbers = ["lovely", "an awful bore", "dull", "good"], [1, 0, 1, 1]
    rows = [f"{text}\t{number}" for text, number in zip(texts, numbers, strict=True)]
    table.write_text("\n".join(["sentence\tlabel", *rows, ""]))
    named = measure(trained_run, task="sst2", data=str(table))
    found = measure(folder, task="sst2", data=str(table))
    assert found.pop("per_class").keys() == {"negative", "positive"}
    check(found, named, rtol=1e-5)
    columns = {"text_column": "sentence", "label_column": "label"}
    found = measure(folder, task="csv", data=str(table), **columns)
    assert found["accuracy"] == named["accuracy"]
    assert found["per_class"]["LABEL_1"] == named["per_class"]["positive"]

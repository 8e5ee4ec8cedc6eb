"""`tfbert glue` on tiny sets: one suite that is stopped, goes on, and has a broken task in it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.error_lines import error_line
from helpers.glue_files import write_glue

from tfbert.cli import main, parse
from tfbert.errors import InputError
from tfbert.runs import finetune as finetune_module
from tfbert.runs.command_options import EvaluateConfig
from tfbert.runs.evaluate import evaluate
from tfbert.runs.glue.suite import glue
from tfbert.runs.starting import RunResult


def command(data, model, output, *more):
    words = ["glue", "--data", str(data), "--model", str(model), "--output", str(output)]
    words += ["--epochs", "1", "--global-batch-size", "8", "--max-length", "16", "--no-progress"]
    words += ["--pad-to-max-length"]  # one shape, traced once
    return [*words, "--learning-rate", "1e-3", "--precision", "float32", "--seeds", "1,2", *more]


@pytest.fixture(scope="module")
def glue_data(tmp_path_factory):
    """STS-B, MNLI, RTE with a broken training file, and AX."""
    folder = write_glue(tmp_path_factory.mktemp("glue_data"), "STS-B", "MNLI", "RTE", "AX")
    with open(folder / "RTE" / "train.tsv", "a") as file:
        file.write("8\tNo second sentence.\tentailment\n")
    return folder


def better(config):
    """What another seed might have made: the run of seed 1 with numbers that are 0.1 higher."""
    run = Path(config.output)
    shutil.copytree(run.with_name("seed-1"), run)
    text = (run / "config.yaml").read_text()
    text = text.replace("seed-1", "seed-2").replace("\nseed: 1", "\nseed: 2")
    (run / "config.yaml").write_text(text)
    metrics = json.loads((run / "metrics.json").read_text())
    for part in (metrics, metrics.get("mismatched", {})):
        raised = ("accuracy", "pearson", "spearman")
        part.update({name: part[name] + 0.1 for name in raised if name in part})
    (run / "metrics.json").write_text(json.dumps(metrics))
    return RunResult(None, {}, metrics, config.output)


@pytest.fixture(scope="module")
def suite(glue_data, small_model, tmp_path_factory):
    """A suite that was stopped in its second run, and then went on: (folder, runs it then made)."""
    output = tmp_path_factory.mktemp("suite") / "glue"
    real, trained = finetune_module.finetune, []

    def counted(config, data=None):
        trained.append(f"{config.task} {config.seed}")
        return real(config, data) if config.seed == 1 else better(config)

    def stopped(config, data=None):
        if trained:
            raise KeyboardInterrupt
        return counted(config, data)

    words = command(glue_data, small_model, output, "--submission")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune_module, "finetune", stopped)
        assert main(words) == 130
        assert trained == ["stsb 1"]
        assert list(json.loads((output / "glue.json").read_text())["tasks"]) == ["stsb"]
        trained.clear()
        patch.setattr(finetune_module, "finetune", counted)
        assert main(words) == 2  # RTE cannot be read
    return output, trained


@pytest.fixture(scope="module")
def results(suite):
    return json.loads((suite[0] / "glue.json").read_text())


def test_what_is_finished_is_not_trained_again(suite):
    assert suite[1] == ["stsb 2", "mnli 1", "mnli 2"]


def test_means_and_spreads_are_those_of_the_runs(suite, results):
    runs = [json.loads((suite[0] / f"stsb/seed-{n}/metrics.json").read_text()) for n in (1, 2)]
    assert list(results["tasks"]) == ["stsb", "mnli", "rte"]
    stsb = results["tasks"]["stsb"]
    for name in ("pearson", "spearman"):
        values = [run[name] for run in runs]
        assert stsb["runs"]["1"][name] == values[0]
        assert stsb["metrics"][name]["mean"] == pytest.approx(np.mean(values))
        # Of two numbers that differ by 0.1.
        assert stsb["metrics"][name]["spread"] == pytest.approx(0.1 / np.sqrt(2))
    assert (stsb["main_metric"], runs[0]["main_metric"]) == ("pearson", "pearson")
    means = [metric["mean"] for metric in stsb["metrics"].values()]
    assert stsb["score"] == pytest.approx(np.mean(means))
    scores = [results["tasks"][name]["score"] for name in ("stsb", "mnli")]
    assert results["average"] == pytest.approx(np.mean(scores))


def test_mismatched_mnli_is_measured_as_well(suite, results, glue_data):
    run = suite[0] / "mnli" / "seed-1"
    metrics = json.loads((run / "metrics.json").read_text())
    found = results["tasks"]["mnli"]["runs"]["1"]
    assert found["accuracy"] == metrics["accuracy"]
    assert found["mismatched accuracy"] == metrics["mismatched"]["accuracy"]
    # And so it is when one asks for it.
    path = glue_data / "MNLI" / "dev_mismatched.tsv"
    options = {"model": str(run), "batch_size": 8, "progress": False}
    other = evaluate(EvaluateConfig(**options, data=str(path)))
    assert other == metrics["mismatched"]
    both = evaluate(EvaluateConfig(**options))
    assert both["mismatched"] == other and both["accuracy"] == metrics["accuracy"]


def test_a_broken_task_is_reported_and_the_others_go_on(suite, results, glue_data, capsys):
    rte = results["tasks"]["rte"]
    assert rte["runs"] == {} and rte["score"] is None
    reason = f"{glue_data / 'RTE' / 'train.tsv'}, line 10: 3 columns, the header has 4"
    assert [line.startswith(reason) for line in rte["failed"].values()] == [True, True]


def test_the_table_and_a_third_call(suite, glue_data, small_model, capsys, monkeypatch):
    def refused(*arguments):
        raise AssertionError("trained, or answered, again")

    monkeypatch.setattr(finetune_module, "finetune", refused)
    monkeypatch.setattr("tfbert.runs.glue.submission.submit", refused)
    assert main(command(glue_data, small_model, suite[0], "--submission")) == 2
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("task", "STS-B", "MNLI", "RTE", "average", "Results:")
    ]
    assert lines[1].split()[1:3] == ["2", "pearson"] and " ± " in lines[1]
    assert "mismatched accuracy" in lines[2]
    assert "failed with seed 1, 2: " in lines[3]
    assert printed.err.splitlines()[-1].startswith("tfbert: error: 3 failed, the first one RTE,")


def test_the_submission_is_by_the_best_seeds(suite, results):
    folder = suite[0] / "submission"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("AX.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "STS-B.tsv")
    ]
    assert results["not_answered"] == {"rte": "there is no finished run of RTE"}
    runs = results["tasks"]["stsb"]["runs"]
    assert runs["2"]["pearson"] > runs["1"]["pearson"]
    assert results["submission"]["STS-B"] == str(suite[0] / "stsb" / "seed-2")
    assert results["submission"]["AX"] == results["submission"]["MNLI-m"]
    lines = (folder / "AX.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert [line.split("\t")[0] for line in lines[1:]] == ["0", "1", "2", "3"]
    answers = {line.split("\t")[1] for line in lines[1:]}
    assert answers <= {"entailment", "neutral", "contradiction"}
    lines = (folder / "STS-B.tsv").read_text().splitlines()[1:]
    scores = [float(line.split("\t")[1]) for line in lines]
    assert len(scores) == 4 and all(0 <= score <= 5 for score in scores)


def test_some_of_the_tasks_keep_the_results_of_the_others(suite, glue_data, small_model, capsys):
    before = json.loads((suite[0] / "glue.json").read_text())
    assert main(command(glue_data, small_model, suite[0], "--tasks", "mnli")) == 2
    assert json.loads((suite[0] / "glue.json").read_text()) == {**before, "not_answered": {}}


def test_other_options_are_not_mixed_in(suite, glue_data, small_model, capsys):
    words = command(glue_data, small_model, suite[0], "--warmup-fraction", "0.5")
    line = error_line(words, capsys)
    assert "seed-1 has other options: --warmup-fraction was 0.1, is 0.5; choose another" in line


# What is refused before anything is trained.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "cola"], "--tasks cola: there is no folder CoLA in "),
        (["--tasks", "stsb,stsb"], "--tasks: stsb stands there twice"),
        (["--tasks", "snli"], "--tasks is \\['snli'\\]: it must be a list, each one of cola"),
        (["--seeds", "1,1"], "--seeds: 1 stands there twice"),
        (["--epochs", "0"], "--epochs is 0: it must be at least 1"),
        (["--text-column", "a"], "--text-column is not an option of `tfbert glue`"),
        (["--resume"], "--resume is not an option of `tfbert glue`"),
    ],
)
def test_wrong_options(glue_data, small_model, tmp_path, options, message, capsys):
    words = [*command(glue_data, small_model, tmp_path / "glue")[:-2], *options]
    with pytest.raises(InputError, match=message):
        parse(words)


def test_places(glue_data, small_model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="holds none of the folders CoLA, SST-2, "):
        parse(command(tmp_path, small_model, tmp_path / "glue"))
    (tmp_path / "config.yaml").write_text("task: cola")
    with pytest.raises(InputError, match="holds a single run; choose another folder"):
        parse(command(glue_data, small_model, tmp_path))
    _, config = parse(command(glue_data, tmp_path / "none", tmp_path / "glue"))
    with pytest.raises(InputError, match="none"):
        glue(config)
    assert not (tmp_path / "glue").exists()
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(InputError, match=r"TF_CONFIG is set: .* the devices of one machine"):
        glue(config)

"""Every known task reads its files: the real ones where they are, made ones in the same layout."""

import logging
import typing

import pytest
from helpers.glue_files import GOOD, write_glue

from tfbert.errors import InputError
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.tuning_data import read_tuning_data
from tfbert.tasks.glue.benchmark import GLUE
from tfbert.tasks.known_problems import PROBLEMS
from tfbert.tasks.known_tasks import TASKS, TaskName
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.problem_options import ProblemOptions

FOLDERS = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "qqp": "QQP",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "wnli": "WNLI",
}


def test_entries_and_names_agree():
    assert set(typing.get_args(TaskName)) == set(TASKS)
    for name, task in TASKS.items():
        assert task.problem in (None, *PROBLEMS), name
        assert task.problem or task.own_columns, name


@pytest.mark.parametrize(
    ("task", "counts", "first", "labels"),
    [
        (
            "cola",
            (8_551, 1_043),
            "Our friends won't buy this analysis, let alone the next one we propose.",
            {"acceptable": 6_023, "unacceptable": 2_528},
        ),
        (
            "sst2",
            (67_349, 872),
            "hide new secretions from the parental units ",
            {"negative": 29_780, "positive": 37_569},
        ),
        (
            "mrpc",
            (4_076, 1_725),
            'Amrozi accused his brother, whom he called "the witness", of deliberately distorting '
            "his evidence.",
            {"equivalent": 2_753, "different": 1_323},
        ),
    ],
)
def test_real_classes(real_data, task, counts, first, labels):
    train, evaluation = LabelledData(task, real_data / "glue" / FOLDERS[task]).splits()
    assert (len(train.texts), len(evaluation.texts)) == counts
    assert train.texts[0] == first
    assert {name: train.labels.count(name) for name in set(train.labels)} == labels
    assert (train.pairs is None) == (task != "mrpc")


def test_real_scores(real_data):
    train, evaluation = LabelledData("stsb", real_data / "glue" / "STS-B").splits()
    assert (len(train.texts), len(evaluation.texts)) == (5_749, 1_500)
    assert (train.texts[0], train.pairs[0]) == (
        "A plane is taking off.",
        "An air plane is taking off.",
    )
    assert train.labels[:2] == [5.0, 3.8] and min(train.labels) == 0.0


def test_real_emotions(real_data):
    folder = real_data / "goemotions"
    train, evaluation = LabelledData("goemotions", folder).splits()
    assert (len(train.texts), len(evaluation.texts)) == (43_410, 5_426)
    # The file has 27 and 4,27; which emotions these are, labels.txt says.
    assert evaluation.labels[:2] == [["neutral"], ["approval", "neutral"]]
    names = (folder / "labels.txt").read_text().split("\n")
    assert [TASKS["goemotions"].names[str(n)] for n in range(28)] == names


def test_real_tags(real_data):
    train, evaluation = LabelledData("wnut17", real_data / "wnut17").splits()
    assert (len(train.texts), len(evaluation.texts)) == (3_394, 1_009)
    assert train.texts[0][:3] == ["@paulwalk", "It", "'s"]
    assert {tag for tags in train.labels for tag in tags} >= {"O", "B-person", "I-location"}


@pytest.mark.parametrize("task", FOLDERS)
def test_files_in_the_published_layout(task, tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    data = LabelledData(task, write_glue(tmp_path, FOLDERS[task]) / FOLDERS[task])
    train, evaluation = data.splits()
    assert len(train.texts) == len(evaluation.texts) == 8
    assert [text.strip() for text in train.texts[:4]] == GOOD  # quotes are ordinary characters
    assert (train.pairs is None) == (task in ("cola", "sst2"))
    assert ("row" in caplog.text and "left out" in caplog.text) == (task == "qqp")
    problem = data.problem.from_data(train, evaluation, ProblemOptions(), TASKS[task].main_metric)
    assert problem.main_metric == GLUE[task].metrics[0]
    if task in ("mrpc", "qqp"):  # its F1 is that of the last label
        assert problem.labels[-1] == TASKS[task].names["1"]


def test_mnli_has_a_second_evaluation(tmp_path):
    data = LabelledData("mnli", write_glue(tmp_path, "MNLI") / "MNLI")
    assert data.splits()[0].labels[:3] == ["entailment", "neutral", "contradiction"]
    further = data.further_evaluations()
    assert list(further) == ["mismatched"] and len(further["mismatched"].texts) == 8
    (tmp_path / "MNLI" / "dev_mismatched.tsv").unlink()
    assert data.further_evaluations() == {}


def test_mrpcs_own_split_of_the_original_files(tmp_path):
    folder = write_glue(tmp_path, "MRPC") / "MRPC"
    (folder / "mrpc_dev_ids.tsv").write_text("101\t151\n103\t153\n104\t150\n")
    train, evaluation = LabelledData("mrpc", folder).splits()
    assert (len(train.texts), len(evaluation.texts)) == (6, 2)
    assert evaluation.labels == ["equivalent", "equivalent"]
    (folder / "mrpc_dev_ids.tsv").write_text("1\t2\n")
    with pytest.raises(InputError, match=r"none of its 1 pairs of ids is in .*train.txt"):
        LabelledData("mrpc", folder).splits()
    (folder / "mrpc_dev_ids.tsv").write_text("1\t2\n3\n")
    with pytest.raises(InputError, match=r"mrpc_dev_ids.tsv, line 2: two ids"):
        LabelledData("mrpc", folder).splits()


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("cola", lambda s: s + "gj04\t1\tA sentence.\n", r"train.tsv, line 9: 3 columns, and such"),
        ("rte", lambda s: s + "8\tone\tentailment\n", r"train.tsv, line 10: 3 columns, the header"),
        (
            "rte",
            lambda s: s + "8\tone\t\tentailment\n",
            r"train.tsv, line 10: one text of the pair is empty .sentence2.",
        ),
        ("stsb", lambda s: s.replace("0.000", "much"), r"train.tsv, line 2: .*much"),
        ("stsb", lambda s: s.replace("sentence2", "other"), "no column 'sentence2'; its columns"),
    ],
)
def test_broken_files_are_named_by_line(task, change, message, tmp_path):
    folder = write_glue(tmp_path, FOLDERS[task]) / FOLDERS[task]
    path = folder / "train.tsv"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message) as error:
        LabelledData(task, folder).splits()
    assert "\n" not in str(error.value)


def test_a_label_that_training_lacks(tmp_path):
    folder = write_glue(tmp_path, "RTE") / "RTE"
    path = folder / "dev.tsv"
    path.write_text(path.read_text().replace("\tentailment", "\tmaybe", 1))
    config = FinetuneConfig(task="rte", data=str(folder), model="none", output="none")
    message = r"dev.tsv, line 2: the label 'maybe' of 1 evaluation examples is not among"
    with pytest.raises(InputError, match=message):
        read_tuning_data(config)


def test_ax_has_nothing_to_train_on(tmp_path):
    with pytest.raises(InputError, match=r"nothing to train on: .*model of --task mnli"):
        LabelledData("ax", write_glue(tmp_path, "AX") / "AX").splits()

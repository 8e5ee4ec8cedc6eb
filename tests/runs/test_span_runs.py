"""Answers in passages, from SQuAD's files to the answers: on one replica and on two."""

import dataclasses
import io
import json

import numpy as np
import pytest
from helpers.squad_files import make_squad, write_squad
from helpers.squad_reference import scores

from tfbert.errors import InputError
from tfbert.models.token_classifier import BertTokenClassifier
from tfbert.models.trained_model import load_model
from tfbert.runs import finetune as finetune_module
from tfbert.runs.command_options import EvaluateConfig, FinetuneConfig, PredictConfig
from tfbert.runs.evaluate import evaluate
from tfbert.runs.finetune import finetune
from tfbert.runs.predict import predict, predict_texts
from tfbert.runs.scoring import predict_examples
from tfbert.tasks.labelled_data import LabelledData


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squad")
    write_squad(folder / "train-v2.0.json", 40, seed=1, impossible=True)
    write_squad(folder / "dev-v2.0.json", 13, seed=2, impossible=True)
    return folder


def options_of(files, small_model, output, **changes):
    options = {
        "task": "squad",
        "data": str(files),
        "model": str(small_model),
        "output": str(output),
        "max_length": 40,  # every passage takes three rows
        "doc_stride": 12,
        "epochs": 2,
        "global_batch_size": 24,
        "learning_rate": 3e-3,
        "precision": "float32",
        "dropout": 0.0,
        "progress": False,
    }
    return FinetuneConfig(**{**options, **changes})


@pytest.fixture(scope="module")
def runs(files, small_model, tmp_path_factory):
    """(folder, history) of the same training, without dropout, on one replica and on two."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune_module, "make_model", without_dropout)
        for replicas in (1, 2):
            folder = tmp_path_factory.mktemp("runs") / str(replicas)
            options = options_of(files, small_model, folder, replicas=replicas)
            found.append((folder, finetune(options).history))
    return found


def without_dropout(backbone, problem):
    return BertTokenClassifier(backbone, problem.outputs, dropout=0.0)


def answers_of(run, **options):
    options = {"progress": False, "batch_size": 24, **options}  # as in training
    return list(predict(PredictConfig(model=str(run), **options)))


def test_two_replicas_train_as_one(runs):
    (_, one), (_, two) = runs
    assert one.keys() == two.keys() >= {"loss", "span_accuracy", "val_loss", "val_f1"}
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-3)
    assert one["loss"][1] < one["loss"][0]


def test_evaluate_says_what_the_run_said(runs, files):
    folder, history = runs[0]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["main_metric"] == "f1" and metrics["examples"] == 13
    assert metrics["f1"] == pytest.approx(max(history["val_f1"]))
    for data in (None, str(files), str(files / "dev-v2.0.json")):
        options = EvaluateConfig(model=str(folder), data=data, batch_size=24, progress=False)
        found = evaluate(options)
        assert found == {name: metrics[name] for name in found}


def test_the_threshold_is_chosen_in_the_arithmetic_of_its_use(files, small_model, tmp_path):
    options = {"precision": "bfloat16", "epochs": 1}
    finetune(options_of(files, small_model, tmp_path / "run", **options))
    trained = load_model(str(tmp_path / "run"), "float32")
    examples = LabelledData("squad", files).evaluation()
    encoded = trained.problem.encode(trained.tokenizer, examples, trained.max_length)
    outputs = predict_examples(trained, encoded, 24)
    undecided = dataclasses.replace(trained.problem, null_threshold=None)
    best = undecided.calibrated(outputs, encoded, examples).null_threshold
    assert trained.problem.null_threshold == pytest.approx(best, abs=1e-6)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["f1"] == pytest.approx(undecided.measure(outputs, encoded, examples)["f1"])


def test_the_answers_have_the_official_scores(runs, files):
    folder, _ = runs[0]
    path = files / "dev-v2.0.json"
    answers = answers_of(folder, input=str(path))
    content = json.loads(path.read_text())
    entries = [
        (paragraph["context"], entry)
        for paragraph in content["data"][0]["paragraphs"]
        for entry in paragraph["qas"]
    ]
    assert [answer["id"] for answer in answers] == [entry["id"] for _, entry in entries]
    assert [answer["question"] for answer in answers] == [entry["question"] for _, entry in entries]
    for answer, (context, _) in zip(answers, entries, strict=True):
        if answer["answer"]:
            assert context[answer["start"] : answer["end"]] == answer["answer"]
    rights = [[right["text"] for right in entry["answers"]] for _, entry in entries]
    exact, f1 = scores([answer["answer"] for answer in answers], rights)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["exact_match"], metrics["f1"]) == pytest.approx((exact, f1))


def test_tables_passages_and_texts_get_the_same_answer(runs, tmp_path, monkeypatch):
    folder, _ = runs[0]
    paragraph = make_squad(1, seed=3)["data"][0]["paragraphs"][0]
    context, question = paragraph["context"], paragraph["qas"][0]["question"]
    (tmp_path / "passage.txt").write_text(context)
    passage = str(tmp_path / "passage.txt")
    (asked,) = answers_of(folder, input=passage, question=question, n_best=4)
    assert asked["question"] == question and len(asked["n_best"]) == 4
    (tmp_path / "table.jsonl").write_text(json.dumps({"q": question, "p": context, "n": 7}))
    columns = {"text_column": "q", "text_pair_column": "p"}
    (row,) = answers_of(folder, input=str(tmp_path / "table.jsonl"), n_best=4, **columns)
    assert (row["q"], row["p"], row["n"]) == (question, context, 7)
    (text,) = predict_texts(load_model(str(folder)), [question], pairs=[context], n_best=4)
    for name in ("answer", "start", "end", "n_best"):
        assert asked[name] == row[name] == text[name]
    with pytest.raises(InputError, match="--question asks about one passage"):
        answers_of(folder, input=str(tmp_path / "table.jsonl"), question=question)
    (tmp_path / "passage.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"passage\.txt: the passage is empty"):
        answers_of(folder, input=passage, question=question)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Who?\n")))
    with pytest.raises(InputError, match="standard input, line 1: one text where the model"):
        answers_of(folder)


def test_other_models_answer_no_questions(trained_run, tmp_path):
    (tmp_path / "passage.txt").write_text("It was a day.")
    with pytest.raises(InputError, match="--question: the model was trained for classification"):
        answers_of(trained_run, input=str(tmp_path / "passage.txt"), question="Was it?")

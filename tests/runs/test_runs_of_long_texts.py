"""`--long-texts windows` from training to the answers: the mean of the parts' logits."""

import json

import numpy as np
import pytest
from helpers.training_fixtures import quick_options

from tfbert.cli import main
from tfbert.models.trained_model import load_model
from tfbert.runs.command_options import EvaluateConfig, FinetuneConfig, PredictConfig
from tfbert.runs.evaluate import evaluate
from tfbert.runs.finetune import finetune
from tfbert.runs.predict import predict, predict_texts
from tfbert.tasks.tokens.tokenization import tokenize


@pytest.fixture(scope="module")
def run(data, small_model, tmp_path_factory):
    """A run with parts of at most 8 tokens, 3 after one another."""
    folder = tmp_path_factory.mktemp("windows") / "run"
    options = quick_options(data, small_model, folder)
    options |= {"long_texts": "windows", "doc_stride": 3, "max_length": 10}
    finetune(FinetuneConfig(**options))
    return folder


@pytest.fixture(scope="module")
def trained(run):
    return load_model(str(run))


def by_hand(trained, text):
    """The probabilities of a text, of its parts one by one."""
    ids = tokenize(trained.tokenizer, [text], 10_000)[0][1:-1]
    rows, first = [], 0
    while True:
        rows.append(ids[first : first + 8])
        if first + 8 >= len(ids):
            break
        first += 3
    logits = []
    for row in rows:
        tokens = np.array([[trained.tokenizer.cls_token_id, *row, trained.tokenizer.sep_token_id]])
        zeros = np.zeros_like(tokens)
        inputs = {"token_ids": tokens, "segment_ids": zeros, "padding_mask": zeros + 1}
        logits.append(np.asarray(trained.model(inputs), np.float64)[0])
    mean = np.mean(logits, 0)
    return np.exp(mean) / np.exp(mean).sum(), len(rows)


def test_answers_are_those_of_the_mean_of_the_logits(trained):
    texts = ["Good.", "It was a long and boring film, and nobody liked it at all; not even I did."]
    for text, answer in zip(texts, predict_texts(trained, texts), strict=True):
        shares, parts = by_hand(trained, text)
        assert parts == (1 if text == "Good." else 5)
        assert answer["label"] == trained.labels[shares.argmax()]
        assert answer["probability"] == pytest.approx(shares.max(), abs=1e-5)


def test_a_text_is_measured_and_answered_once(run, data):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["examples"] == 13
    found = evaluate(EvaluateConfig(model=str(run), progress=False))
    assert found["accuracy"] == metrics["accuracy"] and found["loss"] == metrics["loss"]
    options = {"model": str(run), "input": str(data / "dev.csv"), "progress": False}
    answers = list(predict(PredictConfig(text_column="review", **options)))
    right = sum(answer["mood"] == answer["label"] for answer in answers)
    assert right / len(answers) == pytest.approx(metrics["accuracy"])


def test_pairs_are_refused_before_anything_is_trained(small_model, tmp_path, capfd):
    table = tmp_path / "pairs.csv"
    table.write_text("text,other,label\n" + "one,two,a\nthree,four,b\n" * 10)
    words = f"finetune --task csv --data {table} --model {small_model} --output {tmp_path / 'run'}"
    options = ["--text-pair-column", "other", "--long-texts", "head-tail"]
    assert main([*words.split(), *options]) == 2
    assert "--long-texts head-tail: only single texts can be read so" in capfd.readouterr().err
    assert not (tmp_path / "run" / "model").exists()

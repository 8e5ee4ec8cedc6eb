"""The losses of the first 20 updates are those of transformers in torch, for each kind of head.

What the data, the weights and the batches are, `scripts/transformers_losses.py` says.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.transformers_weights import assign_head, assign_weights

import tfbert
from tfbert.models.sources import load_encoder
from tfbert.tasks.examples import Examples
from tfbert.tasks.known_problems import problem_class
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.spans.squad import Answer
from tfbert.tasks.tokens.batching import collate
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden" / "transformers_losses.npz"
UPDATES, BATCH = 20, 4
# Kind of head: the problem, and the order of the labels in the file.
KINDS = {
    "classification": ("classification", "abc"),
    "pairs": ("classification", "abc"),
    "multilabel": ("multilabel", "abc"),
    "regression": ("regression", None),
    "tagging": ("tagging", ["O", "B-place", "I-place", "B-time"]),
    "span": ("span", None),
}


def read_examples(kind, rows):
    columns = [list(column) for column in zip(*rows, strict=True)]
    if kind == "pairs":
        return Examples(columns[0], columns[2], columns[1])
    if kind == "span":
        questions, passages, texts, starts = columns
        answers = [(Answer(*each),) for each in zip(texts, starts, strict=True)]
        return Examples(questions, answers, passages, [str(row) for row in range(len(rows))])
    return Examples(columns[0], columns[1])


def losses(kind, golden, backbone, rate):
    """(20,) of our training, from the file's examples and weights of the head."""
    content = json.loads(str(golden["examples"]))
    examples = read_examples(kind, content[kind])
    name, order = KINDS[kind]
    problem = problem_class(name).from_data(examples, examples, ProblemOptions())
    model_class = tfbert.BertClassifier if problem.head == "pooled" else tfbert.BertTokenClassifier
    model = model_class(backbone, problem.outputs, dropout=0.0)
    outputs = None if order is None else [list(order).index(label) for label in problem.labels]
    assign_head(model, golden, f"{kind}/weights/", outputs)
    model.compile(tfbert.AdamW(rate, jit_compile=False), problem.make_loss(), jit_compile=False)
    tokenizer = BertTokenizer(Vocabulary(content["vocabulary"]))
    encoded = problem.encode(tokenizer, examples, 40)
    length = encoded.texts.lengths.max()
    found = []
    for update in range(UPDATES):
        rows = (update * BATCH + np.arange(BATCH)) % len(examples.texts)
        inputs = collate(encoded.texts, rows, np.array([length]))
        targets, weights = encoded.targets.batch(rows, length)
        found.append(model.train_on_batch(inputs, targets, weights, return_dict=True)["loss"])
    return np.array(found)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_of_20_updates_are_those_of_transformers(kind, golden):
    content = json.loads(str(golden["examples"]))
    backbone = tfbert.BertEncoder(
        vocabulary_size=len(content["vocabulary"]),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=40,
        dropout=0.0,
    )
    weights = {name: golden[name] for name in golden if name.startswith("weights/")}
    assign_weights(
        backbone, {name.replace("weights/", "bert."): each for name, each in weights.items()}
    )
    expected = golden[f"{kind}/losses"]
    np.testing.assert_allclose(losses(kind, golden, backbone, 2e-3), expected, rtol=1e-3)
    assert expected.std() > 0.02


@pytest.fixture(scope="module")
def golden_of_minilm(real_data, tmp_path_factory):
    pytest.importorskip("transformers", reason="needs the extra `benchmarks`")
    path = tmp_path_factory.mktemp("minilm") / "losses.npz"
    command = [sys.executable, ROOT / "scripts" / "transformers_losses.py", path]
    subprocess.run([*command, real_data / "minilm"], check=True)
    with np.load(path) as file:
        return dict(file)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_are_those_of_a_pre_trained_model(kind, golden_of_minilm, real_data):
    backbone = load_encoder(str(real_data / "minilm"), "float32", dropout=0.0).backbone
    found = losses(kind, golden_of_minilm, backbone, 5e-5)
    np.testing.assert_allclose(found, golden_of_minilm[f"{kind}/losses"], rtol=1e-3)

"""The problem of answers in passages, with logits that are made up."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.squad_reference import scores

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import Layout
from tfbert.tasks.known_problems import problem_from_config
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.problems.span import Span
from tfbert.tasks.spans.squad import Answer
from tfbert.text.tokenizer import BertTokenizer

CONTEXT = "it was a good movie and a bad movie, it was"
LAYOUT = Layout("squad", "question", pair_column="context")


@pytest.fixture(scope="module")
def tokenizer(vocabulary):
    return BertTokenizer(vocabulary)


def examples_of(*labels):
    count = len(labels)
    ids = [f"q{number}" for number in range(count)]
    return Examples(["was it good?"] * count, list(labels), [CONTEXT] * count, ids)


def right(text):
    return (Answer(text, CONTEXT.index(text)),)


def problem_of(train, **options):
    return Span.from_data(train, train, ProblemOptions(**options))


def outputs_for(encoded, seed=0, strength=50.0):
    """Logits that give the right answers, with a little noise."""
    rng = np.random.default_rng(seed)
    outputs = [rng.normal(size=(n, 2)).astype(np.float32) for n in encoded.texts.lengths]
    for values, positions in zip(outputs, encoded.targets.values, strict=True):
        values[positions, [0, 1]] += strength
    return outputs


def test_what_the_data_says():
    answered, impossible = examples_of(right("good")), examples_of(right("good"), ())
    assert problem_of(answered) == Span(["start", "end"], "f1", True)
    problem = problem_of(impossible, doc_stride=7, max_question_length=8, max_answer_length=9)
    assert problem == Span(["start", "end"], "f1", True, 7, 8, 9, has_impossible=True)
    assert problem.outputs == 2 and problem.null_threshold is None
    with pytest.raises(InputError, match="no question of the training examples has an answer"):
        problem_of(examples_of((), ()))
    with pytest.raises(InputError, match="--long-texts windows: long passages are read in windows"):
        problem_of(answered, long_texts="windows")
    with pytest.raises(InputError, match="--class-weights"):
        problem.class_weights("balanced", answered)


def test_it_is_kept_as_json():
    problem = dataclasses.replace(problem_of(examples_of(right("good"), ())), null_threshold=-1.5)
    kept = json.loads(json.dumps(problem.config()))
    assert problem_from_config(kept, "problem.json") == problem


def test_right_logits_measure_as_all_right(tokenizer):
    examples = examples_of(right("good movie"), (), right("bad"), right(CONTEXT[:8]))
    problem = problem_of(examples, doc_stride=5)
    encoded = problem.encode(tokenizer, examples, 16)
    outputs = outputs_for(encoded)
    metrics = problem.measure(outputs, encoded, examples)
    names = ("exact_match", "f1", "has_answer_f1", "has_answer_exact_match")
    assert [metrics[name] for name in names] == [100] * 4
    assert metrics["no_answer_exact_match"] == 100
    assert metrics["examples"] == 4 and metrics["main_metric"] == "f1"
    # The loss: over rows, in float64.
    losses = []
    for values, positions in zip(outputs, encoded.targets.values, strict=True):
        shares = np.exp(values.astype(np.float64)) / np.exp(values.astype(np.float64)).sum(0)
        losses.append(-np.log(shares[positions, [0, 1]]).mean())
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-9)
    table = problem.table(metrics)
    assert "4 questions: exact match 100.00 %, F1 100.00 %" in table and "null score" in table


def test_scores_are_the_official_ones(tokenizer):
    labels = [right(text) for text in ("good movie", "bad movie, it", "it", "a", "movie")] * 10
    examples = examples_of(*labels)
    problem = problem_of(examples)
    encoded = problem.encode(tokenizer, examples, 64)
    outputs = outputs_for(encoded, strength=1.0)
    metrics = problem.measure(outputs, encoded, examples)
    given = [answer["answer"] for answer in problem.answers(outputs, encoded, examples)]
    expected = scores(given, [[answer.text for answer in answers] for answers in labels])
    assert 0 < expected[1] < 100
    assert (metrics["exact_match"], metrics["f1"]) == pytest.approx(expected)
    assert "null_threshold" not in metrics


def test_the_threshold_is_chosen_on_the_evaluation_examples(tokenizer):
    examples = examples_of(*([right("good"), ()] * 20))
    problem = problem_of(examples)
    encoded = problem.encode(tokenizer, examples, 64)
    # "No answer" has 4 to 6 where it is right and -1 to 1 elsewhere, less 10 everywhere.
    outputs = outputs_for(encoded, strength=5.0)
    rng = np.random.default_rng(1)
    for number, values in enumerate(outputs):
        values[1:] += 10
        values[0] = rng.uniform(2, 3) if number % 2 else rng.uniform(-1, 1)
    chosen = problem.calibrated(outputs, encoded, examples)
    assert chosen.null_threshold < -10  # 0 would give an answer to every question
    before, after = (it.measure(outputs, encoded, examples) for it in (problem, chosen))
    assert before == after and after["null_threshold"] == chosen.null_threshold
    at_zero = dataclasses.replace(problem, null_threshold=0.0)
    assert at_zero.measure(outputs, encoded, examples)["f1"] < after["f1"]
    # It stays as it was chosen where others are measured.
    others = examples.take([0])
    measured = chosen.measure(outputs[:1], chosen.encode(tokenizer, others, 64), others)
    assert measured["null_threshold"] == chosen.null_threshold
    # Without impossible questions there is nothing to choose.
    assert problem.calibrated(outputs[:1], encoded, others).null_threshold == 0
    assert problem.calibrates and not problem_of(others).calibrates


def test_answers_have_a_place_and_a_probability(tokenizer):
    examples = examples_of(right("good movie"))
    problem = problem_of(examples, doc_stride=5)
    encoded = problem.encode(tokenizer, examples, 16)
    outputs = outputs_for(encoded, strength=3.0)
    (answer,) = problem.answers(outputs, encoded, examples._replace(labels=None), n_best=5)
    assert list(answer) == ["id", "answer", "probability", "start", "end", "n_best"]
    assert CONTEXT[answer["start"] : answer["end"]] == answer["answer"]
    candidates = answer["n_best"]
    assert len(candidates) == 5
    assert candidates[0] == {key: answer[key] for key in candidates[0]}
    shares = [candidate["probability"] for candidate in candidates]
    assert shares == sorted(shares, reverse=True) and sum(shares) < 1
    assert len({(it["start"], it["end"]) for it in candidates}) == 5
    json.dumps(answer)


def test_no_answer_among_the_answers(tokenizer):
    examples = examples_of((), right("good"))
    problem = problem_of(examples)
    encoded = problem.encode(tokenizer, examples, 64)
    # As many as there are spans.
    outputs = outputs_for(encoded, strength=3.0)
    none, some = problem.answers(outputs, encoded, examples, n_best=100)
    assert (none["answer"], none["start"], none["end"]) == ("", None, None)
    assert none["null_score"] > 0 > some["null_score"] and some["answer"] == "good"
    for answer in (none, some):
        assert sum(it["probability"] for it in answer["n_best"]) == pytest.approx(1)
        assert [it["answer"] for it in answer["n_best"]].count("") == 1


def test_a_passage_without_words(tokenizer):
    examples = Examples(["was it?"], None, [" \n"])
    for has_impossible in (False, True):
        problem = Span(["start", "end"], "f1", True, has_impossible=has_impossible)
        encoded = problem.encode(tokenizer, examples, 64)
        outputs = [np.zeros((length, 2), np.float32) for length in encoded.texts.lengths]
        (answer,) = problem.answers(outputs, encoded, examples)
        assert answer == {"answer": "", "probability": 1.0, "start": None, "end": None}


def squad_file(path, *answers):
    entries = [
        {"id": f"q{number}", "question": f"Who {number}?", **entry}
        for number, entry in enumerate(answers)
    ]
    content = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": entries}]}]}
    path.write_text(json.dumps(content))
    return path


def test_reading_squad(tmp_path):
    answers = {"answers": [{"text": "good", "answer_start": 9}]}
    path = squad_file(tmp_path / "train.json", answers, {"is_impossible": True})
    assert Span.read(path, LAYOUT) == Examples(
        ["Who 0?", "Who 1?"], [right("good"), ()], [CONTEXT] * 2, ["q0", "q1"]
    )
    assert not Span.is_unlabelled(path, LAYOUT)
    assert Span.read(path, LAYOUT, labelled=False).labels is None
    unlabelled = squad_file(tmp_path / "test.json", {}, {})
    assert Span.is_unlabelled(unlabelled, LAYOUT)
    with pytest.raises(InputError, match=r"test\.json: no question has an answer"):
        Span.read(unlabelled, LAYOUT)
    with pytest.raises(InputError, match=r"train\.csv: answers in passages are read from JSON"):
        Span.read(tmp_path / "train.csv", LAYOUT)


def test_the_files_of_squad_have_versions(tmp_path):
    answers = {"answers": [{"text": "good", "answer_start": 9}]}
    (tmp_path / "empty").mkdir()
    squad_file(tmp_path / "train-v1.1.json", answers, answers)
    squad_file(tmp_path / "dev-v1.1.json", answers)
    with pytest.raises(InputError, match=r"holds no train\.json"):
        LabelledData("squad", tmp_path / "empty").splits()
    train, evaluation = LabelledData("squad", tmp_path).splits()
    assert len(train.texts) == 2 and len(evaluation.texts) == 1
    squad_file(tmp_path / "train-v2.0.json", answers)
    with pytest.raises(InputError, match=r"train-v1\.1\.json and train-v2\.0\.json: give"):
        LabelledData("squad", tmp_path).splits()


def test_what_predict_reads(tmp_path):
    problem = problem_of(examples_of(right("good")))
    wrong = {"answers": [{"text": "nowhere", "answer_start": 9}]}
    path = squad_file(tmp_path / "questions.json", wrong, {})
    found = list(problem.read_inputs(str(path), LAYOUT))
    assert [it.row for it in found] == [None, None]
    assert found[1].example == Examples(["Who 1?"], None, [CONTEXT], ["q1"])
    assert problem.given(found[1].example) == {"id": "q1", "question": "Who 1?"}
    table = tmp_path / "questions.csv"
    table.write_text("n,question,context\n7,Who?,It was.\n")
    (row,) = problem.read_inputs(str(table), LAYOUT)
    assert row.example == Examples(["Who?"], None, ["It was."])
    # So they are called without a layout of their own.
    assert list(problem.read_inputs(str(table), Layout())) == [row]
    assert row.row == {"n": "7", "question": "Who?", "context": "It was."}
    assert problem.given(row.example) == {"question": "Who?"}
    lines = tmp_path / "questions.jsonl"
    lines.write_text('{"question": "Who?", "context": "It was."}\n')
    (line,) = problem.read_inputs(str(lines), LAYOUT)
    assert line.example == Examples(["Who?"], None, ["It was."])
    plain = tmp_path / "questions.txt"
    plain.write_text("Who?\tIt was.\n")
    assert [it.example for it in problem.read_inputs(str(plain), LAYOUT)] == [line.example]
    passage = tmp_path / "passage.txt"
    passage.write_text("It was.\n\nIt is.\n")
    (asked,) = problem.read_passage("Who?", str(passage), LAYOUT)
    assert asked == (Examples(["Who?"], None, ["It was.\n\nIt is.\n"]), None)
    with pytest.raises(InputError, match="--question: is empty"):
        next(problem.read_passage(" ", str(passage), LAYOUT))

"""Tags of words: targets on first pieces, class weights, metrics, answers in words and in texts."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.problems.tagging import Tagging
from tfbert.tasks.tags.entities import entity_scores

TRAIN = Examples(
    [["ab", "c", "\u200b", "d"], ["c", "ab"]], [["B-x", "I-x", "O", "O"], ["O", "B-y"]]
)
TAGS = ["B-x", "B-y", "I-x", "O"]


@pytest.fixture(scope="module")
def problem():
    return Tagging.from_data(TRAIN, TRAIN, ProblemOptions())


def outputs_for(problem, encoded, tags, strength=9.0):
    """What a model would give that is sure of some tags: a (tokens, tags) array a row."""
    texts = encoded.texts
    flat = np.random.default_rng(0).normal(size=(len(texts.values), problem.outputs))
    words = [tag for sentence in tags for tag in sentence]
    for place, tag in zip(encoded.details.first_tokens, words, strict=True):
        if place >= 0:
            flat[place, problem.labels.index(tag)] += strength
    flat = flat.astype(np.float32)
    return [flat[texts.starts[row] : texts.starts[row + 1]] for row in range(len(texts))]


def test_the_first_piece_of_a_word_carries_its_tag(problem, small_tokenizer):
    assert problem.labels == TAGS and problem.main_metric == "f1"
    encoded = problem.encode(small_tokenizer, TRAIN, 16)
    # [CLS] a ##b c d [SEP] [CLS] c a ##b [SEP]; the third word has no piece.
    assert encoded.targets.values.tolist() == [0, 0, 0, 2, 3, 0, 0, 3, 1, 0, 0]
    assert encoded.targets.weights.tolist() == [0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0]
    assert problem.encode(small_tokenizer, TRAIN._replace(labels=None), 16).targets is None


def test_class_weights_by_tag(problem, small_tokenizer):
    weights = problem.class_weights("balanced", TRAIN)
    np.testing.assert_allclose(weights, [6 / 4, 6 / 4, 6 / 4, 6 / 12])
    encoded = problem.encode(small_tokenizer, TRAIN, 16, class_weights=weights)
    expected = [0, 1.5, 0, 1.5, 0.5, 0, 0, 0.5, 1.5, 0, 0]
    np.testing.assert_allclose(encoded.targets.weights, expected)
    np.testing.assert_array_equal(problem.class_weights([1, 2, 3, 4], TRAIN), [1, 2, 3, 4])


def test_long_sentences_are_in_several_rows(problem, small_tokenizer):
    long = Examples([["ab"] * 20, ["c"]], [["B-x"] * 20, ["O"]])
    encoded = problem.encode(small_tokenizer, long, 10)
    assert "1 of 2 sentences have more than 10 word pieces" in encoded.cut
    assert encoded.targets.weights.sum() == 21
    metrics = problem.measure(outputs_for(problem, encoded, long.labels), encoded, long)
    assert metrics["f1"] == metrics["accuracy"] == 1.0 and metrics["words"] == 21


def test_metrics(problem, small_tokenizer):
    random = np.random.default_rng(1)
    words = [["ab", "c", "d", "c"][: random.integers(1, 5)] for _ in range(20)]
    right = [[str(tag) for tag in random.choice(TAGS, len(sentence))] for sentence in words]
    given = [[str(tag) for tag in random.choice(TAGS, len(sentence))] for sentence in words]
    examples = Examples(words, right)
    encoded = problem.encode(small_tokenizer, examples, 16)
    outputs = outputs_for(problem, encoded, given)
    metrics = problem.measure(outputs, encoded, examples)
    scores = entity_scores(given, right)
    assert {name: metrics[name] for name in scores} == scores
    logits = np.concatenate(outputs).astype(np.float64)[encoded.details.first_tokens]
    ids = [TAGS.index(tag) for sentence in right for tag in sentence]
    losses = np.logaddexp.reduce(logits, -1) - logits[np.arange(len(ids)), ids]
    assert metrics["loss"] == pytest.approx(losses.mean())
    assert problem.remarks(outputs, examples, metrics) == []
    encoded = problem.encode(small_tokenizer, TRAIN, 16)
    outputs = outputs_for(problem, encoded, [["O"] * 4, ["O"] * 2])
    (remark,) = problem.remarks(outputs, TRAIN, problem.measure(outputs, encoded, TRAIN))
    assert "none of the 2 entities was found" in remark
    assert "precision" in problem.table(metrics) and "\nx " in problem.table(metrics)


def test_parts_of_speech(small_tokenizer):
    data = Examples([["ab", "c"], ["d"]], [["NOUN", "VERB"], ["NOUN"]])
    problem = Tagging.from_data(data, data, ProblemOptions())
    assert problem.main_metric == "accuracy" and not problem.finds_entities
    encoded = problem.encode(small_tokenizer, data, 16)
    outputs = outputs_for(problem, encoded, [["NOUN", "NOUN"], ["VERB"]])
    metrics = problem.measure(outputs, encoded, data)
    flat = (["NOUN", "VERB", "NOUN"], ["NOUN", "NOUN", "VERB"])
    assert metrics["accuracy"] == pytest.approx(accuracy_score(*flat))
    assert metrics["macro_f1"] == pytest.approx(f1_score(*flat, average="macro"))
    assert problem.answers(outputs, encoded, data) == [
        {"tags": ["NOUN", "NOUN"]},
        {"tags": ["VERB"]},
    ]
    text = Examples(["ab, c"], None)
    encoded = problem.encode(small_tokenizer, text, 16)
    outputs = outputs_for(problem, encoded, [["NOUN", "VERB", "NOUN"]])
    (answer,) = problem.answers(outputs, encoded, text)
    assert answer == {"words": ["ab", ",", "c"], "tags": ["NOUN", "VERB", "NOUN"]}


def test_answers_for_words(problem, small_tokenizer):
    given = [["B-x", "I-x", "O", "O"], ["O", "B-y"]]
    encoded = problem.encode(small_tokenizer, TRAIN._replace(labels=None), 16)
    outputs = outputs_for(problem, encoded, given)
    answers = problem.answers(outputs, encoded, TRAIN._replace(labels=None))
    assert [answer["tags"] for answer in answers] == given
    (entity,) = answers[0]["entities"]
    assert (entity["type"], entity["text"]) == ("x", "ab c")
    assert (entity["first_word"], entity["last_word"]) == (0, 1)
    first, second = (outputs[0][place].astype(np.float64) for place in (1, 3))
    expected = np.exp(
        first[0] + second[2] - np.logaddexp.reduce(first) - np.logaddexp.reduce(second)
    )
    assert entity["probability"] == pytest.approx(expected)


def test_answers_for_texts(problem, small_tokenizer):
    texts = Examples(["d  AB\u0301, c", "", "\u200b"], None)
    encoded = problem.encode(small_tokenizer, texts, 16)
    outputs = outputs_for(problem, encoded, [["O", "B-x", "I-x", "O"], [], []])
    first, second, third = problem.answers(outputs, encoded, texts)
    (entity,) = first["entities"]
    assert (entity["start"], entity["end"], entity["text"]) == (3, 7, "AB\u0301,")
    assert second == third == {"entities": []}


def test_tags_that_training_had_not(problem, small_tokenizer):
    def data(*tags):
        return Examples([["c"] * len(tags)], [list(tags)])

    with pytest.raises(InputError, match="the tag 'B-z' of 2 evaluation words"):
        Tagging.from_data(TRAIN, data("B-z", "B-z", "O"), ProblemOptions())
    # Of a known type, a tag may be new: it is there to be wrong about.
    assert "I-y" in Tagging.from_data(TRAIN, data("B-y", "I-y"), ProblemOptions()).labels
    encoded = problem.encode(small_tokenizer, data("B-y", "I-y"), 16)
    assert encoded.targets.weights.tolist() == [0, 1, 0, 0]
    with pytest.raises(InputError, match="the tag 'I-z' of 1 evaluation"):
        problem.encode(small_tokenizer, data("O", "I-z"), 16)
    with pytest.raises(InputError, match="all words of the 1 training examples have the tag 'O'"):
        Tagging.from_data(data("O", "O"), data("O"), ProblemOptions())

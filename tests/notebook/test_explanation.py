"""Against KerasHub's own class on the shortened texts, one by one."""

import keras_hub
import numpy as np
import pytest

from tfbert.notebook.explanation import explain
from tfbert.notebook.pictures import draw_explanations

TEXTS = ["A film to remember,  with a wonderful cast.", "Bad."]


@pytest.fixture(scope="module")
def explanations(small_classifier):
    return explain(small_classifier, TEXTS)


def test_effects_are_what_another_implementation_finds(explanations, saved_run):
    stock = keras_hub.models.TextClassifier.from_preset(str(saved_run / "model"))
    for text, found in zip(TEXTS, explanations, strict=True):
        words = text.split()
        assert found.words == words
        shorter = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
        logits = np.asarray(stock.predict([text, *shorter], verbose=0), np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        answer = probabilities[0].argmax()
        assert found.label == ["negative", "positive"][answer]
        assert found.probability == pytest.approx(probabilities[0, answer], abs=1e-5)
        expected = probabilities[0, answer] - probabilities[1:, answer]
        np.testing.assert_allclose(found.effects, expected, atol=1e-5)
    assert abs(explanations[0].effects).max() > 1e-3


def test_every_word_is_drawn_once(explanations):
    axes = draw_explanations(explanations)
    words = [text.get_text() for text in axes.texts]
    assert sorted(word for word in words if ", 0." not in word and ", 1." not in word) == sorted(
        " ".join(TEXTS).split()
    )
    assert len(axes.patches) == len(" ".join(TEXTS).split())
    # The word that did most for the answer has the deepest of one colour, that which did most
    # against it the deepest of the other.
    lightness = np.array([sum(patch.get_facecolor()[:3]) for patch in axes.patches])
    effects = np.concatenate([each.effects for each in explanations])
    for side in (effects > 0, effects < 0):
        assert np.argmin(lightness[side]) == np.argmax(abs(effects[side]))


def test_long_texts_go_on_in_the_next_line(explanations):
    found = explanations[0]
    long = found._replace(words=["word"] * 30, effects=np.linspace(-0.1, 0.1, 30))
    axes = draw_explanations([long])
    lines = {text.get_position()[1] for text in axes.texts}
    assert lines == {0, 1, 2}


def test_nothing_to_leave_out(small_classifier):
    (found,) = explain(small_classifier, [""])
    assert found.words == [] and len(found.effects) == 0
    draw_explanations([found])

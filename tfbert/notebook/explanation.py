"""What a classifier looks at: how its answer changes when a word is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfbert.models.trained_model import TrainedModel
from tfbert.runs.scoring import predict_outputs
from tfbert.tasks.problems.classification import log_probabilities
from tfbert.tasks.tokens.tokenization import tokenize


class Explanation(NamedTuple):
    """An answer, and what each word did for it.

    Args:
        words: Those of the text, divided at white space.
        effects: (words,) float64, by how much the probability of the answer falls when the word
            is left out; below 0 where it rises, as the word speaks against the answer.
        label: The answer.
        probability: Its probability.
    """

    words: list[str]
    effects: np.ndarray
    label: str
    probability: float


def explain(classifier: TrainedModel, texts: Sequence[str]) -> list[Explanation]:
    """Leaves out every word of every text in turn.

    What it shows is what the model does without a word, not why: two words that say the same
    cover for each other, and neither seems to matter.
    """
    all_words = [text.split() for text in texts]
    variants = []
    for text, words in zip(texts, all_words, strict=True):
        variants.append(text)
        variants += [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    tokens = tokenize(classifier.tokenizer, variants, classifier.max_length)
    rows = np.exp(log_probabilities(predict_outputs(classifier, tokens, 64)))
    explanations, first = [], 0
    for words in all_words:
        whole, without = rows[first], rows[first + 1 : first + 1 + len(words)]
        answer = whole.argmax()
        explanations.append(
            Explanation(
                words,
                whole[answer] - without[:, answer],
                classifier.labels[answer],
                float(whole[answer]),
            )
        )
        first += 1 + len(words)
    return explanations

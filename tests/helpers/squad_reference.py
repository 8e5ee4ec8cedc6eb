"""The official scores of SQuAD by their published definition, one step after another.

Rajpurkar et al. 2016, section 6.1, and the evaluation script of version 2.0.
"""

import re
import string


def normalize(text):
    """Lower case, without punctuation and articles, words apart by one space."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    for article in ("an", "a", "the"):
        text = re.sub(rf"\b{article}\b", " ", text)
    return " ".join(text.split())


def exact(answer, right):
    return 1.0 if normalize(answer) == normalize(right) else 0.0


def f1(answer, right):
    given, wanted = normalize(answer).split(), normalize(right).split()
    if not given or not wanted:
        return 1.0 if given == wanted else 0.0
    left, common = list(wanted), 0
    for word in given:
        if word in left:
            left.remove(word)
            common += 1
    if common == 0:
        return 0.0
    precision, recall = common / len(given), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def scores(given, rights):
    """(exact match, F1) in percent; `rights` has the right answers of each question."""
    exacts, f1s = [], []
    for answer, texts in zip(given, rights, strict=True):
        texts = [text for text in texts if normalize(text)] or [""]
        exacts.append(max(exact(answer, text) for text in texts))
        f1s.append(max(f1(answer, text) for text in texts))
    return 100 * sum(exacts) / len(exacts), 100 * sum(f1s) / len(f1s)

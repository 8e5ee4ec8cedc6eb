"""SQuAD's own scores: exact match and F1 over words, and the threshold for "no answer".

The rules are those of the official evaluation scripts, versions 1.1 and 2.0: lower case, without
punctuation, articles and repeated white space; a question counts by the best of its answers. Where
the versions differ, for answers of which nothing is left ("the"), they are those of 2.0.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tfbert.tasks.spans.squad import Question

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Score(NamedTuple):
    """Exact match and F1, from 0 to 1."""

    exact: float
    f1: float


def normalized(text: str) -> str:
    """What of an answer is compared."""
    text = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def score_of(answer: str, question: Question) -> Score:
    """The score of an answer; the empty text says that there is none."""
    # The script drops right answers of which nothing is left; without any, the right one is "".
    rights = [right.text for right in question.answers or () if normalized(right.text)] or [""]
    return Score(
        max(float(normalized(answer) == normalized(right)) for right in rights),
        max(_f1(answer, right) for right in rights),
    )


def _f1(answer: str, right: str) -> float:
    given, wanted = normalized(answer).split(), normalized(right).split()
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    # 2 precision recall / (precision + recall), without a division by 0.
    return 2 * common / (len(given) + len(wanted))


def squad_scores(answers: Mapping[str, str], questions: Sequence[Question]) -> dict[str, float]:
    """The official scores of the questions' answers, in percent.

    Args:
        answers: By the question's id; "" says that there is none. A missing one counts as wrong.

    Returns:
        A dict of `exact_match`, `f1` and `examples`; with impossible questions also of
        `no_answer_exact_match` and, of the others if there are any, `has_answer_exact_match` and
        `has_answer_f1`.
    """
    scores = [
        score_of(answers[question.id], question) if question.id in answers else Score(0.0, 0.0)
        for question in questions
    ]
    result = {**_means(scores), "examples": len(scores)}
    if any(not question.answers for question in questions):
        pairs = list(zip(scores, questions, strict=True))
        with_answer = [score for score, question in pairs if question.answers]
        if with_answer:
            result |= {f"has_answer_{name}": value for name, value in _means(with_answer).items()}
        none = _means([score for score, question in pairs if not question.answers])
        result["no_answer_exact_match"] = none["exact_match"]
    return result


def _means(scores: Sequence[Score]) -> dict[str, float]:
    count = max(1, len(scores))
    return {
        "exact_match": 100 * sum(score.exact for score in scores) / count,
        "f1": 100 * sum(score.f1 for score in scores) / count,
    }


def best_null_threshold(
    answers: Mapping[str, str], null_scores: Mapping[str, float], questions: Sequence[Question]
) -> float:
    """The threshold of the null score above which "no answer" gives the best F1.

    Args:
        answers: The best answer of each question, "" excluded, by its id.
        null_scores: Of each question; see `Answers`.

    Returns:
        The middle between two neighbouring null scores, so that their last digits, which differ
        with precision and batch size, do not decide; or 1 beyond all of them, where one side is
        empty.
    """
    # From "no answer" everywhere on, one answer after another is admitted.
    total = float(sum(not question.answers for question in questions))
    best, threshold = total, min([*filter(math.isfinite, null_scores.values()), 1.0]) - 1.0
    ordered = sorted(questions, key=lambda question: null_scores[question.id])
    for number, question in enumerate(ordered):
        total += score_of(answers[question.id], question).f1 - (not question.answers)
        here, following = null_scores[question.id], math.inf
        if number + 1 < len(ordered):
            following = null_scores[ordered[number + 1].id]
        if total > best and following > here:
            best = total
            threshold = (here + following) / 2 if math.isfinite(following) else here + 1.0
    return threshold

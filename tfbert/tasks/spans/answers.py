"""From the logits of a question's windows to its answers: the n best, and the null score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfbert.tasks.spans.windows import Window
from tfbert.text.offsets import LocatedTokens


class Candidate(NamedTuple):
    """An answer that a model gives.

    Args:
        text: As it stands in the passage; "" says that there is none.
        start, end: Its first character, and the one after its last; None of "".
        score: Sum of the logits of its first and last token.
        probability: Among the candidates of its question, by softmax of the scores.
    """

    text: str
    start: int | None
    end: int | None
    score: float
    probability: float


class Answers(NamedTuple):
    """What a model says of a question.

    Args:
        best: The n best, the best first; at least one, unless the passage has no tokens.
        null_score: Score of "no answer", the least over the windows, less the best score: the
            larger, the less likely there is an answer.
        null_probability: Of "no answer", where it is a candidate; else 0.
    """

    best: list[Candidate]
    null_score: float
    null_probability: float


def find_answers(
    context: str,
    passage: LocatedTokens,
    windows: Sequence[Window],
    logits: Sequence[np.ndarray],
    n_best: int = 20,
    max_answer_tokens: int = 30,
    none_is_candidate: bool = False,
) -> Answers:
    """The best answers over all windows of a question (Devlin et al. 2019, section 4.2).

    A span's score is that of its first and last token; one that stands in several windows has the
    best of its scores.

    Args:
        context: The passage as it was written.
        logits: Of each window (its length, 2) float: of the answer's first and last token.
        n_best: Candidates a window and altogether.
        max_answer_tokens: Tokens of the longest answer.
        none_is_candidate: Whether "no answer" has a share of the probability.
    """
    found: dict[tuple[int, int], float] = {}
    null = np.inf
    for window, values in zip(windows, logits, strict=True):
        starts, ends = np.asarray(values, np.float64).T
        null = min(null, float(starts[0] + ends[0]))
        for first, last, score in _best_spans(window, starts, ends, n_best, max_answer_tokens):
            tokens = (first + window.first, last + window.first)
            found[tokens] = max(score, found.get(tokens, -np.inf))
    spans = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:n_best]
    scores = np.array([score for _, score in spans])
    total = np.logaddexp.reduce([*scores, null] if none_is_candidate or not spans else scores)
    candidates = [
        _candidate(context, passage, tokens, score, np.exp(score - total))
        for tokens, score in spans
    ]
    return Answers(
        candidates,
        float(null - scores[0]) if spans else np.inf,
        float(np.exp(null - total)) if none_is_candidate or not spans else 0.0,
    )


def _best_spans(
    window: Window, starts: np.ndarray, ends: np.ndarray, n_best: int, max_answer_tokens: int
) -> list[tuple[int, int, float]]:
    """(first, last, score) of the best spans of a window, tokens counted from its part's begin."""
    part = slice(window.offset, window.offset + window.size)
    first_logits, last_logits = starts[part], ends[part]
    spans = []
    for first in np.argsort(-first_logits, kind="stable")[:n_best].tolist():
        lasts = last_logits[first : first + max_answer_tokens]
        for length in np.argsort(-lasts, kind="stable")[:n_best].tolist():
            spans.append((first, first + length, float(first_logits[first] + lasts[length])))
    return sorted(spans, key=lambda span: -span[2])[:n_best]


def _candidate(
    context: str, passage: LocatedTokens, tokens: tuple[int, int], score: float, probability: float
) -> Candidate:
    start, end = int(passage.starts[tokens[0]]), int(passage.ends[tokens[1]])
    return Candidate(context[start:end], start, end, float(score), float(probability))

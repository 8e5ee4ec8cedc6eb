"""Windows of passages, and answers in them: every answer comes back, wherever it stands."""

import numpy as np
import pytest

from tfbert.tasks.spans.answers import find_answers
from tfbert.tasks.spans.windows import answer_positions, answer_tokens, make_windows
from tfbert.text.offsets import LocatedTokens

QUESTION = 3  # tokens


def passage_of(tokens, width=3):
    """Tokens of `width` characters with a space after each: token n is all letters chr(97 + n)."""
    starts = np.arange(tokens) * (width + 1)
    return LocatedTokens(np.arange(100, 100 + tokens), starts, starts + width)


def context_of(tokens, width=3):
    return " ".join(chr(97 + n % 26) * width for n in range(tokens))


def windows_of(passage, max_length=12, doc_stride=3, question=QUESTION):
    return list(make_windows(question, len(passage.token_ids), max_length, doc_stride))


def test_a_short_passage_has_one_window():
    (window,) = windows_of(passage_of(4))
    assert window == (5, 0, 4) and window.length == 10


@pytest.mark.parametrize("tokens", [6, 7, 9, 20, 23])
@pytest.mark.parametrize("doc_stride", [1, 3, 6, 50])
def test_windows_cover_the_passage_and_none_is_too_long(tokens, doc_stride):
    windows = windows_of(passage_of(tokens), doc_stride=doc_stride)
    assert all(window.length <= 12 for window in windows)
    seen = [n for window in windows for n in range(window.first, window.first + window.size)]
    assert set(seen) == set(range(tokens))
    # None is there that adds nothing.
    ends = [window.first + window.size for window in windows]
    assert ends == sorted(set(ends))


def test_characters_to_tokens():
    passage = passage_of(5)  # "aaa bbb ccc ddd eee"
    assert answer_tokens(passage, 4, 7) == (1, 1)
    assert answer_tokens(passage, 4, 11) == (1, 2)
    assert answer_tokens(passage, 5, 9) == (1, 2)  # parts of words
    assert answer_tokens(passage, 3, 4) is None  # a space


def test_an_answer_that_a_window_lacks_or_cuts_points_at_cls():
    windows = windows_of(passage_of(10), doc_stride=6)
    first, second = windows
    assert answer_positions(first, (4, 5)) == (9, 10)
    assert answer_positions(first, (5, 6)) == (0, 0)  # cut
    assert answer_positions(second, (4, 5)) == (0, 0)
    assert answer_positions(second, (8, 9)) == (7, 8)
    assert answer_positions(first, None) == (0, 0)


def test_the_right_logits_give_the_very_answer():
    random = np.random.default_rng(0)
    for _ in range(200):
        tokens = int(random.integers(1, 40))
        passage, context = passage_of(tokens), context_of(tokens)
        first = int(random.integers(tokens))
        last = min(tokens - 1, first + int(random.integers(3)))
        windows = windows_of(passage, doc_stride=int(random.integers(1, 4)))
        logits = [random.normal(size=(window.length, 2)) for window in windows]
        for window, values in zip(windows, logits, strict=True):
            values[answer_positions(window, (first, last)), [0, 1]] += 30
        answers = find_answers(context, passage, windows, logits)
        best = answers.best[0]
        assert best.text == context[passage.starts[first] : passage.ends[last]]
        assert answers.null_score < 0
        assert 0.99 < best.probability <= 1


def test_no_answer_in_any_window():
    passage = passage_of(9)
    windows = windows_of(passage)
    logits = [np.eye(window.length, 1) * [20, 20] for window in windows]
    answers = find_answers(context_of(9), passage, windows, logits)
    assert answers.null_score == pytest.approx(40)
    # The logits of all spans are 0: they share the probability.
    assert sum(candidate.probability for candidate in answers.best) == pytest.approx(1)
    assert answers.null_probability == 0
    answers = find_answers(context_of(9), passage, windows, logits, none_is_candidate=True)
    shares = [candidate.probability for candidate in answers.best]
    total = np.exp(40) + len(shares)
    assert answers.null_probability == pytest.approx(np.exp(40) / total)
    assert shares == pytest.approx([1 / total] * len(shares))


def test_a_passage_without_tokens():
    passage = passage_of(0)
    (window,) = windows_of(passage)
    answers = find_answers("", passage, [window], [np.zeros((window.length, 2))])
    assert answers == ([], np.inf, 1)


def test_the_length_of_an_answer_is_limited():
    passage = passage_of(6)
    (window,) = windows_of(passage)
    logits = np.zeros((window.length, 2))
    logits[window.offset, 0] = logits[window.offset + 5, 1] = 10
    answers = find_answers(context_of(6), passage, [window], [logits], 20, 3)
    assert all(len(candidate.text.split()) <= 3 for candidate in answers.best)

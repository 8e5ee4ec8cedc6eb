"""Questions and passages as rows of tokens, and where the answers stand in them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.spans.squad import Answer
from tfbert.tasks.spans.windows import Window, answer_positions, answer_tokens, make_windows
from tfbert.tasks.tokens.encoded import EncodedExamples, RowTargets
from tfbert.tasks.tokens.tokenization import TokenizedTexts
from tfbert.text.offsets import LocatedTokens, locate_tokens
from tfbert.text.tokenizer import BertTokenizer

SHORTEST = 5  # tokens of a row: three special ones, one of the question, one of the passage


class WindowedPassages(NamedTuple):
    """What makes answers of a model's outputs.

    Args:
        passages: Each passage once, tokenized.
        passage_of: Of each example, which of them.
        windows: Of each row; those of an example follow one another.
        first_rows: (examples + 1,) the first row of each example.
    """

    passages: list[LocatedTokens]
    passage_of: list[int]
    windows: list[Window]
    first_rows: np.ndarray

    def rows_of(self, example: int) -> slice:
        """The rows of an example."""
        return slice(*self.first_rows[example : example + 2])


def encode_spans(
    tokenizer: BertTokenizer,
    examples: Examples,
    max_length: int,
    doc_stride: int,
    max_question_length: int,
) -> EncodedExamples:
    """Every question with each window of its passage, and the place of its first answer in it.

    A passage is tokenized once, however many questions there are about it. In a window that lacks
    the answer, or has a part of it only, the answer points at [CLS].

    Args:
        max_length: Most tokens of a row.
        doc_stride: Tokens from the start of a part of a passage to that of the next.
        max_question_length: Tokens of the longest question; half of a row at most.

    Raises:
        InputError: If a row has no room for question and passage.
    """
    if max_length < SHORTEST:
        raise InputError(
            f"--max-length {max_length}: a question and its passage need {SHORTEST} tokens at least"
        )
    longest = min(max_question_length, (max_length - 3) // 2)
    whole = tokenizer.encode(examples.texts)
    questions = [question[:longest] for question in whole]
    contexts = {context: n for n, context in enumerate(dict.fromkeys(examples.pairs or []))}
    passages = list(locate_tokens(tokenizer, list(contexts)))
    passage_of = [contexts[context] for context in examples.pairs or []]
    windows: list[list[Window]] = [
        list(make_windows(len(question), len(passages[passage].token_ids), max_length, doc_stride))
        for question, passage in zip(questions, passage_of, strict=True)
    ]
    counts = np.array([len(found) for found in windows], np.int64)
    details = WindowedPassages(
        passages,
        passage_of,
        list(itertools.chain.from_iterable(windows)),
        np.concatenate([[0], np.cumsum(counts)]),
    )
    cut = [
        _said(
            sum(len(question) > longest for question in whole),
            len(whole),
            f"questions are longer than {longest} tokens and lose their end",
        ),
        _said(
            int((counts > 1).sum()),
            len(whole),
            f"questions have passages that are read in parts of up to {max_length} tokens with "
            f"the question: {len(details.windows)} rows in all",
        ),
    ]
    targets = None
    if examples.labels is not None:
        positions, missing = _positions(details, examples.labels)
        targets = RowTargets(positions, np.ones(len(positions), np.float32))
        cut.append(_said(missing, len(whole), "answers stand in no row as a whole"))
    return EncodedExamples(
        _rows(tokenizer, questions, details),
        targets,
        example_of=np.repeat(np.arange(len(whole)), counts),
        details=details,
        cut="; ".join(filter(None, cut)) or None,
    )


def _said(count: int, total: int, what: str) -> str | None:
    return f"{count} of {total} {what}" if count else None


def _rows(
    tokenizer: BertTokenizer, questions: Sequence[np.ndarray], details: WindowedPassages
) -> TokenizedTexts:
    lengths = np.array([window.length for window in details.windows], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    values = np.full(starts[-1], tokenizer.sep_token_id, np.int32)
    values[starts[:-1]] = tokenizer.cls_token_id
    row = 0
    for example, (question, number) in enumerate(zip(questions, details.passage_of, strict=True)):
        passage = details.passages[number].token_ids
        for window in details.windows[details.rows_of(example)]:
            begin = starts[row]
            values[begin + 1 : begin + 1 + len(question)] = question
            begin += window.offset
            part = passage[window.first : window.first + window.size]
            values[begin : begin + window.size] = part
            row += 1
    return TokenizedTexts(
        values,
        starts,
        np.array([window.offset for window in details.windows], np.int64),
        tokenizer.pad_token_id,
        truncated_texts=0,
        dropped_tokens=0,
    )


def _positions(
    details: WindowedPassages, labels: Sequence[tuple[Answer, ...]]
) -> tuple[np.ndarray, int]:
    """(rows, 2) int32, and how many answers stand in no row."""
    positions = np.zeros((len(details.windows), 2), np.int32)
    missing = 0
    for example, answers in enumerate(labels):
        if not answers:
            continue
        passage = details.passages[details.passage_of[example]]
        tokens = answer_tokens(passage, answers[0].start, answers[0].end)
        rows = details.rows_of(example)
        positions[rows] = [answer_positions(window, tokens) for window in details.windows[rows]]
        missing += not positions[rows].any()
    return positions, missing

"""Questions about passages in SQuAD's JSON form, versions 1.1 and 2.0, or an object a question.

References:
    Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", 2016; "Know
    what you don't know: unanswerable questions for SQuAD", 2018.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines, read_text
from tfbert.tasks.formats.json_rows import open_json


class Answer(NamedTuple):
    """A piece of a passage; `start` is its first character."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after its last one."""
        return self.start + len(self.text)


class Question(NamedTuple):
    """A question about a passage.

    Args:
        answers: What counts as right; empty if the passage has no answer. None where the file does
            not say.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] | None = None


def read_squad(
    path: str | Path, encoding: str = "utf-8", with_answers: bool = True
) -> list[Question]:
    """Reads a file in SQuAD's form, or one with an object a line, as `datasets` writes SQuAD.

    An answer's place that is a guess (a few in SQuAD are) is put right: the nearest place where its
    text stands is taken.

    Args:
        path: The file; one with an object a line, or an array of objects, has the keys `id`,
            `question`, `context` and `answers`: {"text": [...], "answer_start": [...]}.
        with_answers: Whether answers are read; else all are None.

    Raises:
        InputError: If the file is not in that form, an answer is not in its passage, some
            questions have answers and others are not said to have none, or an id stands there
            twice.
    """
    nested = is_squad(path, encoding)
    entries = _nested(path, encoding) if nested else _flat(path, encoding)
    questions: list[Question] = []
    seen: set[str] = set()
    for entry, context, place in entries:
        question = _question(entry, context, path, place, with_answers)
        if question.id in seen:
            raise InputError(f"{path}: two questions have the id {question.id}")
        seen.add(question.id)
        questions.append(question)
    if not questions:
        raise InputError(f"{path}: holds no questions")
    unsaid = [question for question in questions if question.answers is None]
    if with_answers and 0 < len(unsaid) < len(questions):
        raise InputError(
            f"{path}, question {unsaid[0].id}: no answer, and not marked as impossible "
            '("is_impossible": true), as others in the file are'
        )
    return questions


def is_squad(path: str | Path, encoding: str = "utf-8") -> bool:
    """Whether a file is a single JSON object, as SQuAD's are, and not an object a line."""
    first = next((line for _, line in read_lines(path, encoding) if line.strip()), "")
    if not first.lstrip().startswith("{"):
        return False
    try:
        return "data" in json.loads(first)
    except (ValueError, RecursionError):
        return True  # an object that goes on after its first line


def _nested(path: str | Path, encoding: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yields (entry of a question, its passage, its place)."""
    try:
        content = json.loads(read_text(path, encoding))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    articles = content.get("data") if isinstance(content, dict) else None
    if not isinstance(articles, list):
        raise InputError(f'{path}: not in SQuAD\'s form: there is no list "data"')
    for number, article in enumerate(articles):
        paragraphs = _get(article, "paragraphs", list, path, f"article {number}")
        for inner, paragraph in enumerate(paragraphs):
            place = f"article {number}, paragraph {inner}"
            context = _get(paragraph, "context", str, path, place)
            for entry in _get(paragraph, "qas", list, path, place):
                yield entry, context, place


def _flat(path: str | Path, encoding: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    first = next((line for _, line in read_lines(path, encoding) if line.strip()), "")
    for place, cells in open_json(path, first, (), encoding).rows:
        entry = dict(cells)
        if isinstance(answers := entry.get("answers"), dict):
            texts = _get(answers, "text", list, path, place)
            starts = _get(answers, "answer_start", list, path, place)
            if len(texts) != len(starts):
                raise InputError(
                    f"{path}, {place}: {len(texts)} answers, but {len(starts)} answer_start"
                )
            entry["is_impossible"] = not texts
            entry["answers"] = [
                {"text": text, "answer_start": start}
                for text, start in zip(texts, starts, strict=True)
            ]
        yield entry, _get(entry, "context", str, path, place), place


def _question(
    entry: Any, context: str, path: str | Path, place: str, with_answers: bool
) -> Question:
    name = str(_get(entry, "id", (str, int), path, place))
    place = f"question {name}" if place.startswith("article") else place
    text = _get(entry, "question", str, path, place)
    impossible = with_answers and bool(entry.get("is_impossible", False))
    answers = () if impossible or not with_answers else entry.get("answers") or ()
    if not isinstance(answers, list | tuple):
        raise InputError(f'{path}, {place}: "answers" must be a list')
    found = tuple(_answer(answer, context, path, place) for answer in answers)
    return Question(name, text, context, found if found or impossible else None)


def _answer(entry: Any, context: str, path: str | Path, place: str) -> Answer:
    text = _get(entry, "text", str, path, place)
    start = _get(entry, "answer_start", int, path, place)
    if not text.strip():
        raise InputError(f"{path}, {place}: an answer is empty")
    if not 0 <= start <= len(context):
        raise InputError(
            f"{path}, {place}: answer_start {start} is outside of the passage, which has "
            f"{len(context)} characters"
        )
    if context.startswith(text, start):
        return Answer(text, start)
    before, after = context.rfind(text, 0, start + len(text)), context.find(text, start)
    places = [place for place in (before, after) if place >= 0]
    if not places:
        raise InputError(f"{path}, {place}: the answer {text!r} does not stand in the passage")
    return Answer(text, min(places, key=lambda found: abs(found - start)))


def _get(entry: Any, key: str, kind: Any, path: str | Path, place: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f'{path}, {place}: not in SQuAD\'s form: "{key}" is missing or wrong')
    return value

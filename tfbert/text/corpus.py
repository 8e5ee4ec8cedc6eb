"""Documents out of files, folders, globs, standard input and tensorflow-datasets, one by one."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tfbert.errors import InputError
from tfbert.io.paths import AnyPath, as_path, files_below, find_files
from tfbert.io.text_files import read_lines
from tfbert.text.marked_documents import Lines, cut_text, find_marks, json_texts, wiki_parts

DATASETS_PREFIX = "tfds:"
LONGEST_PART = 4_000_000  # characters; longer documents come in parts, so that memory is bounded
_TEXT_FILE = re.compile(r".*\.txt(\.gz)?|wiki_[0-9]+", re.DOTALL)
# Control characters between words: form feeds, "next line", and what a dash or a quote becomes
# where Windows text is read as Latin-1. BERT's tokenization would drop them and join the words.
_CONTROLS = re.compile("[\x0b\x0c\x1c-\x1f\x7f-\x9f]")
_LINE_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)

_MARKS = {
    "wiki": "is WikiExtractor's: each <doc> is a document, and these lines are left out",
    "json": "is JSON lines: the `text` of each is a document",
}
_log = logging.getLogger("tfbert")


class Part(NamedTuple):
    """A document, or the next part of a long one.

    Args:
        document: Number of the document, from 0.
        text: Paragraphs are separated by blank lines.
    """

    document: int
    text: str


def find_sources(inputs: Iterable[AnyPath], outside: Iterable[AnyPath] = ()) -> list[str]:
    """The files that the user's names and patterns mean, in a fixed order.

    Args:
        inputs: Files, folders (every .txt and .txt.gz, and WikiExtractor's wiki_00), globs,
            `tfds:NAME`, `-`.
        outside: Folders of the output, whose files are left out unless the input names one itself.

    Returns:
        Paths, `tfds:NAME` or `-`.

    Raises:
        InputError: If one of them means no file.
    """
    sources = []
    outside = [as_path(folder).resolve() for folder in outside]

    def is_source(file: Path) -> bool:
        return not any(file.resolve().is_relative_to(folder) for folder in outside)

    for name in map(str, inputs):
        path = as_path(name)
        if name == "-" or name.startswith(DATASETS_PREFIX) or path.is_file():
            found = [name]
        elif path.is_dir():
            files = filter(is_source, files_below(path))
            found = [str(file) for file in files if _TEXT_FILE.fullmatch(file.name)]
            if not found:
                raise InputError(
                    f"{name}: no .txt or .txt.gz files in this folder; "
                    f"name other files with a glob ('{name}/*.text')"
                )
        elif path.exists():
            raise InputError(f"{name}: is not a regular file; use - for standard input")
        else:
            found = [file for file in find_files(name) if is_source(as_path(file))]
            if not found:
                raise InputError(f"{name}: no such file")
        sources += found
    if sources.count("-") > 1:
        raise InputError("--input: standard input can be read once only")
    return sources


def text_size(sources: Sequence[str]) -> int | None:
    """Bytes of text in the sources, for progress; None where that cannot be known."""
    if any(source == "-" or source.startswith(DATASETS_PREFIX) for source in sources):
        return None
    return sum(map(_file_size, map(as_path, sources)))


def _file_size(path: Path) -> int:
    size = path.stat().st_size
    if path.suffix == ".gz" and size >= 18:
        with path.open("rb") as file:
            file.seek(-4, 2)
            # The trailer of a gzip file holds the unpacked size, modulo 4 GiB.
            size = max(size, int.from_bytes(file.read(), "little"))
    return size


def read_documents(sources: Iterable[str], form: str, encoding: str = "utf-8") -> Iterator[Part]:
    """Reads documents in order, in bounded memory.

    Args:
        sources: From `find_sources`.
        form: Where a document ends: `line`, `file` or `blank` (a blank line). Not where the source
            says it itself: text sets of tensorflow-datasets (an example), WikiExtractor's files
            (`<doc id=...>` and `</doc>`, which are left out) and JSON lines (the `text` of each).
        encoding: Text encoding of the files.

    Yields:
        `Part`: documents that are not blank, and parts of those over `LONGEST_PART` characters.

    Raises:
        InputError: If a source cannot be read as text.
    """
    document, begins = -1, True
    told: set[str] = set()  # one line in the log is enough for thousands of files
    for source in sources:
        for first, text in _parts(source, form, encoding, told):
            begins = begins or first
            if "\0" in text:
                raise InputError(f"{source}: holds NUL bytes, so it is not a text file")
            if not text or text.isspace():
                continue
            document, begins = document + begins, False
            yield Part(document, _clean(text))
        begins = True


def _clean(text: str) -> str:
    if not text.strip().isprintable():
        text = _CONTROLS.sub(" ", text)
    return _LINE_BREAK_TAG.sub("\n\n", text) if "<" in text else text


def _parts(source: str, form: str, encoding: str, told: set[str]) -> Iterator[tuple[bool, str]]:
    """Yields (whether a document begins here, text)."""
    if source.startswith(DATASETS_PREFIX):
        from tfbert.text.tensorflow_datasets import read_texts

        for text in read_texts(source.removeprefix(DATASETS_PREFIX)):
            yield from cut_text(text, LONGEST_PART)
        return
    marks, lines = find_marks(read_lines(source, encoding, longest=LONGEST_PART))
    if marks and marks not in told:
        told.add(marks)
        _log.info("%s: %s", source, _MARKS[marks])
    if marks == "wiki":
        yield from wiki_parts(lines, LONGEST_PART)
    elif marks == "json":
        for text in json_texts(lines, source):
            yield from cut_text(text, LONGEST_PART)
    else:
        yield from _unmarked(lines, form)


def _unmarked(lines: Lines, form: str) -> Iterator[tuple[bool, str]]:
    last = -1
    if form == "line":
        for number, line in lines:
            yield number != last, line
            last = number
        return
    held: list[str] = []
    size, first = 0, True
    for number, line in lines:
        # A part of a long line may be blank where the line is not.
        whole = number != last and line.endswith("\n")
        blank = form == "blank" and whole and line.isspace()
        last = number
        held.append(line)
        size += len(line)
        if blank or size >= LONGEST_PART:
            yield first, "".join(held)
            held, size, first = [], 0, blank
    yield first, "".join(held)

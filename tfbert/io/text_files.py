"""Reads text files line by line; what cannot be read is named by file and line.

A byte order mark names a file's encoding: UTF-8, UTF-16 or UTF-32. Without one the encoding is the
caller's. Lines end with a line feed, with or without a carriage return before it; in a file without
any line feed, with the carriage return of old Macs.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any

from tfbert.errors import InputError
from tfbert.io.paths import AnyPath, as_path, is_remote

# That of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
# First bytes of files that are taken for text.
_OTHER_FILES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; export its table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook; export its table as CSV"),
    (b"PAR1", "a Parquet file; pandas' to_csv or to_json(lines=True) makes text of it"),
    (b"\x1f\x8b", "packed by gzip; give it a name that ends in .gz"),
)
_HEAD = 1 << 16  # bytes in which the first line break is looked for


def read_lines(
    path: AnyPath, encoding: str = "utf-8", longest: int | None = None
) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line with its line break) of a text file.

    `-` is standard input and `.gz` files are unpacked on the way. A byte order mark is dropped, and
    goes before `encoding`. A line break of old Macs becomes a line feed.

    Args:
        path: A file's path, or `-`.
        encoding: Any text encoding that Python knows.
        longest: Bytes after which a line is cut, at a space if there is one, so that it fits into
            memory; its parts come with the same number.

    Raises:
        InputError: If the file is missing or damaged, the encoding is unknown, or a line is not in
            that encoding.
    """
    name = "standard input" if str(path) == "-" else str(path)
    encoding = check_encoding(encoding)
    number = 0
    try:
        with _open_bytes(path) as opened:
            head = opened.readline(_HEAD)
            marked = _marked_encoding(head)
            encoding = marked or encoding
            _refuse_what_is_no_text(head, encoding, name)
            file: Any = io.BufferedReader(_Rejoined(head, opened), _HEAD)
            where = "line"
            if not _breaks_are_bytes(encoding) or _is_of_old_mac(head):
                # It is decoded in pieces of several lines.
                file, encoding, where = _Recoded(file, encoding), "utf-8", "after line"
            first = True
            for number, raw in enumerate(file, start=1) if longest is None else _cut(file, longest):
                line = raw.decode(encoding)
                yield number, line.removeprefix("\ufeff") if first else line
                first = False
    except UnicodeError as error:
        raise _not_encoded(error, f"{name}, {where} {number}", marked) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{name}: damaged gzip file after line {number}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder; a file is needed here") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error


def check_encoding(name: str) -> str:
    """Python's name of an encoding.

    Raises:
        InputError: If Python does not know it.
    """
    try:
        name = codecs.lookup(name).name
        "\n".encode(name)  # `base64` and the like are no text encodings
    except LookupError as error:
        raise InputError(f"--encoding {name}: Python knows no such encoding") from error
    return name.removesuffix("-sig")  # a byte order mark is dropped in any case


def read_text(path: AnyPath, encoding: str = "utf-8") -> str:
    """A whole text file as one string, with the errors of `read_lines`."""
    return "".join(line for _, line in read_lines(path, encoding))


def decode_text(content: bytes, encoding: str, name: str) -> str:
    """The same of a file's content that is in memory; `name` is the file's, for messages."""
    marked = _marked_encoding(content)
    try:
        text = content.decode(marked or check_encoding(encoding)).removeprefix("\ufeff")
    except UnicodeError as error:
        raise _not_encoded(error, name, marked) from error
    return text


def _marked_encoding(head: bytes) -> str | None:
    """What a byte order mark at the beginning of a file says, if there is one."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _refuse_what_is_no_text(head: bytes, encoding: str, name: str) -> None:
    for mark, what in _OTHER_FILES:
        if head.startswith(mark):
            raise InputError(f"{name}: is {what}")
    # Every second byte of Latin text in UTF-16 is 0, and in no other text.
    zeros = [byte == 0 for byte in head[:8]]
    for order, pattern in (("le", [False, True]), ("be", [True, False])):
        looks_like_it = len(zeros) >= 4 and zeros == (pattern * 4)[: len(zeros)]
        if looks_like_it and _breaks_are_bytes(encoding):
            raise InputError(
                f"{name}: is UTF-16 without a byte order mark; give --encoding utf-16-{order}"
            )


def _breaks_are_bytes(encoding: str) -> bool:
    """Whether lines can be cut before they are decoded, so that a wrong byte's line is known."""
    return "\n".encode(encoding) == b"\n"


def _is_of_old_mac(head: bytes) -> bool:
    """Whether the first lines end with carriage returns alone, by the first `_HEAD` bytes."""
    # The last byte may be the first half of a line break.
    return b"\r" in head[:-1] and b"\n" not in head


def _not_encoded(error: UnicodeError, place: str, marked: str | None) -> InputError:
    if marked:
        return InputError(
            f"{place}: is not valid {marked}, though its byte order mark says so: the file is "
            "damaged, or of two encodings"
        )
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
        encoding = error.encoding.replace("_", "-")
        reason = f"byte 0x{error.object[error.start]:02x} is not valid {encoding}"
    return InputError(
        f"{place}: {reason}; name the file's encoding with --encoding (latin-1, cp1252, ...)"
    )


class _Rejoined(io.RawIOBase):
    """An open file whose first bytes were read already."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file: Any = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # No more than is there: a person may be typing.
        part = self._head[: len(buffer)] or self._file.read1(len(buffer))
        self._head = self._head[len(part) :]
        buffer[: len(part)] = part
        return len(part)


class _Recoded:
    """A file whose lines cannot be cut as bytes, as UTF-8; all line breaks become line feeds."""

    def __init__(self, file: Any, encoding: str) -> None:
        self._text = io.TextIOWrapper(file, encoding, newline=None)

    def readline(self, size: int = -1) -> bytes:
        return self._text.readline(size).encode()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


def _cut(file: Any, longest: int) -> Iterator[tuple[int, bytes]]:
    """Yields (line number, line), or parts of a line of more than `longest` bytes."""
    number, kept = 1, b""
    while piece := file.readline(longest):
        line, kept = kept + piece, b""
        if not line.endswith(b"\n") and len(line) >= longest:
            cut = line.rfind(b" ") + 1 or _character_border(line)
            line, kept = line[:cut], line[cut:]
        yield number, line
        number += line.endswith(b"\n")
    if kept:
        yield number, kept


def _character_border(line: bytes) -> int:
    """Where to cut between two UTF-8 characters: before the last one, unless that is one byte."""
    cut = len(line)
    while cut > len(line) - 3 and line[cut - 1] & 0xC0 == 0x80:
        cut -= 1
    return cut - 1 if line[cut - 1] >= 0xC0 else cut


def _open_bytes(path: AnyPath) -> Any:
    if str(path) == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    path = as_path(path)
    if path.suffix != ".gz":
        return path.open("rb")
    return gzip.open(path.open("rb") if is_remote(path) else path, "rb")

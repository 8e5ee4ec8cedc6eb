"""Reads text files line by line; what cannot be read is named by file and line."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any

from tfbert.errors import InputError
from tfbert.io.paths import AnyPath, as_path, is_remote


def read_lines(
    path: AnyPath, encoding: str = "utf-8", longest: int | None = None
) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line with its line break) of a text file.

    `-` is standard input and `.gz` files are unpacked on the way. A byte order mark is dropped.

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
        with _open_bytes(path) as file:
            first = True
            for number, raw in enumerate(file, start=1) if longest is None else _cut(file, longest):
                line = raw.decode(encoding)
                yield number, line.removeprefix("\ufeff") if first else line
                first = False
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(
            f"{name}, line {number}: byte 0x{byte:02x} is not valid {encoding}; "
            "name the file's encoding with --encoding (latin-1, cp1252, ...)"
        ) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{name}: damaged gzip file after line {number}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder; a file is needed here") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error


def check_encoding(name: str) -> str:
    """Python's name of an encoding in which a line break is one byte.

    Lines are cut before they are decoded, so that the error of a wrong byte can name its line.

    Raises:
        InputError: If Python does not know the encoding, or a line break is something else in it.
    """
    try:
        name = codecs.lookup(name).name
        extends_ascii = "\n".encode(name.removesuffix("-sig")) == b"\n"
    except LookupError as error:
        raise InputError(f"--encoding {name}: Python knows no such encoding") from error
    if not extends_ascii:
        raise InputError(
            f"--encoding {name}: only encodings that extend ASCII are read; convert the file to "
            "UTF-8"
        )
    return name.removesuffix("-sig")  # a byte order mark is dropped in any case


def read_text(path: AnyPath, encoding: str = "utf-8") -> str:
    """A whole text file as one string, with the errors of `read_lines`."""
    return "".join(line for _, line in read_lines(path, encoding))


def _cut(file: IO[bytes], longest: int) -> Iterator[tuple[int, bytes]]:
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

"""CSV and TSV files, as spreadsheets and programs write them.

What a file does not say is found by its header: the separator is the one under which the header has
the columns that are asked for. Quotes are read as spreadsheets write them, in tab-separated `.tsv`
files as ordinary characters; a file that cannot be read so is read in the other way that is in use
(`\\"` for a quote inside quotes, or spaces before quotes; quoted texts in a `.tsv`), if all of it
can.

Files of known sets may have no header: then the set says what the columns are called.
"""

import csv
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines
from tfbert.tasks.formats.rows import Row, Table, column_named, find_columns

_log = logging.getLogger("tfbert")

_SEPARATORS = ",;\t|"
_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # Excel's first line
_ESCAPE = re.compile(r'\\(["\\])')


class _Quotes(NamedTuple):
    """How quotes are written: as `csv.reader` takes it, whether `\\"` is one of them, and whether
    spaces may stand before them."""

    quoting: Literal[0, 3]
    escaped: bool = False
    spaced: bool = False


_STANDARD, _LITERAL = _Quotes(csv.QUOTE_MINIMAL), _Quotes(csv.QUOTE_NONE)
_BACKSLASH = _Quotes(csv.QUOTE_MINIMAL, escaped=True)
_SPACED = _Quotes(csv.QUOTE_MINIMAL, spaced=True)
_WORDS = {
    _STANDARD: "quoted as spreadsheets do",
    _BACKSLASH: 'quoted with \\" inside quotes',
    _SPACED: "quoted with spaces before the quotes",
}


def open_delimited(
    path: str | Path,
    form: str,
    wanted: Sequence[str],
    encoding: str,
    separator: str | None,
    names: Sequence[str] = (),
    drops_broken: bool = False,
) -> Table:
    """`tables.open_table` of the forms `csv` and `tsv`.

    Args:
        names: What the columns are called where the file has no header. A file whose first line
            has a column of the first name that is wanted has one.
        drops_broken: Whether rows of another number of columns are left out, with a log line, as
            in a published file that has some.
    """
    csv.field_size_limit(sys.maxsize)  # a text of any length; the tokenizer cuts it
    separator = "\t" if separator in ("tab", "\\t") else separator
    named, first = _first_line(path, encoding)
    usual_separator = "\t" if form == "tsv" else ","
    if names:
        separator = separator or named or usual_separator
        header = [name.strip().strip('"') for name in first.split(separator)]
        if column_named(header, wanted[0]) is not None:
            names = ()
    separator = separator or named or _find_separator(first, usual_separator, wanted)
    # A `.tsv` that is not separated by tabs is a CSV file.
    usual = _LITERAL if form == "tsv" and separator == "\t" else _STANDARD
    others = (_STANDARD,) if usual is _LITERAL else (_BACKSLASH, _SPACED)

    def read(quotes: _Quotes) -> Table:
        rows = _rows(path, encoding, separator, bool(named), quotes, names, drops_broken)
        return Table(_columns(path, next(rows).cells, wanted), rows)

    return read(usual if drops_broken else _readable(path, read, usual, others))


def _columns(path: str | Path, header: dict[str, str], wanted: Sequence[str]) -> list[str]:
    columns = find_columns(list(header), wanted, str(path), "column")
    for column in columns:
        count = list(header.values()).count(header[column])
        if count > 1:
            raise InputError(f"{path}: {count} columns are named {column!r}")
    return columns


def _first_line(path: str | Path, encoding: str) -> tuple[str | None, str]:
    """(the separator that a first line `sep=;` names, or None; the first line of the table)."""
    separator = None
    for number, line in read_lines(path, encoding):
        named = _NAMED_SEPARATOR.fullmatch(line.strip("\r\n"))
        if named and number == 1:
            separator = named[1]
        elif line.strip():
            if "\0" in line:
                raise InputError(f"{path}: holds NUL bytes, so it is not a text file")
            return separator, line
    raise InputError(f"{path}: the file is empty")


def _find_separator(header: str, usual: str, wanted: Sequence[str]) -> str:
    """The separator under which a header has the columns, else the most columns."""

    def rank(separator: str) -> tuple[bool, bool, int]:
        try:
            names = next(csv.reader([header], delimiter=separator))
        except csv.Error:
            names = []
        has_all = all(column_named(names, name) is not None for name in wanted)
        return has_all, has_all and separator == usual, len(names)

    return max(usual + _SEPARATORS, key=rank)


def _readable(
    path: str | Path, read: Callable[[_Quotes], Table], usual: _Quotes, others: Sequence[_Quotes]
) -> _Quotes:
    """The way of writing quotes in which the whole file can be read; the usual one goes first.

    Raises:
        InputError: If it can be read in none: what is wrong in the usual one.
    """
    broken = _broken(read, usual)
    if broken is None:
        return usual
    for other in others:
        if _broken(read, other) is None:
            _log.info("%s: its texts are %s, and read so", path, _WORDS[other])
            return other
    raise broken


def _broken(read: Callable[[_Quotes], Table], quotes: _Quotes) -> InputError | None:
    """What is wrong with the first row that cannot be read with these quotes, if there is one."""
    try:
        for _ in read(quotes).rows:
            pass
    except _BrokenRowError as error:
        return error
    return None


class _BrokenRowError(InputError):
    """A row that cannot be read with these quotes."""


def _rows(
    path: str | Path,
    encoding: str,
    separator: str,
    skips: bool,
    quotes: _Quotes,
    names: Sequence[str],
    drops_broken: bool,
) -> Iterator[Row]:
    """The header as a row, as it is written, then all rows; `skips` leaves the first line out.

    Without `names` the first row is the header.
    """
    lines = (line for _, line in read_lines(path, encoding))
    if skips:
        next(lines)
    if quotes.escaped:
        lines = (_ESCAPE.sub(_unescaped, line) for line in lines)
    strict = quotes.quoting != csv.QUOTE_NONE
    reader = csv.reader(
        lines,
        delimiter=separator,
        quoting=quotes.quoting,
        skipinitialspace=quotes.spaced,
        strict=strict,
    )
    header = list(names)
    if header:
        yield Row("line 1", dict(zip(header, header, strict=True)))
    dropped = []
    try:
        for cells in reader:
            place = f"line {reader.line_num + skips}"
            is_blank = not cells or (len(cells) == 1 and not cells[0].strip())
            if not header:
                header = [] if is_blank else _column_names(cells)
            if not header or not cells or (is_blank and len(header) > 1):
                continue
            while len(cells) > len(header) and not cells[-1]:
                cells.pop()  # a separator at the end of the line
            if len(cells) != len(header):
                if drops_broken:
                    dropped.append(place)
                    continue
                raise _BrokenRowError(f"{path}, {place}: {_wrong_count(cells, header, names)}")
            yield Row(place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        place = f"line {reader.line_num + skips}"
        reason = str(error)
        if "new-line" in reason:  # its own words are about Python
            reason = "a carriage return stands outside quotes"
        row = "csv row" if strict else "tsv row"
        raise _BrokenRowError(f"{path}, {place}: not a {row}: {reason}") from error
    if not header:
        raise InputError(f"{path}: the file is empty")
    if dropped:
        _log.info(
            "%s: %d rows do not have %d columns and are left out, the first one in %s",
            *(path, len(dropped), len(header), dropped[0]),
        )


def _wrong_count(cells: Sequence[str], header: Sequence[str], names: Sequence[str]) -> str:
    count = f"{len(cells)} column{'s' * (len(cells) > 1)}"
    if names:
        return f"{count}, and such a file has {len(names)}: {', '.join(names)}"
    advice = (
        "the separators of empty columns must be there, too"
        if len(cells) < len(header)
        else "a text that holds the separator must be quoted (csv) or written with a space instead "
        "(tsv)"
    )
    return f"{count}, the header has {len(header)}; {advice}"


def _unescaped(match: re.Match[str]) -> str:
    return '""' if match[1] == '"' else "\\"


def _column_names(cells: Sequence[str]) -> list[str]:
    """The header's names; columns without one get their number, and a second `x` is `x (2)`."""
    names: list[str] = []
    for number, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column {number}"
        if names.count(name):
            count = 1 + sum(other.strip() == name for other in cells[: number - 1])
            name = f"{name} ({count})"
        names.append(name)
    return names

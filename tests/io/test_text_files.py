import gzip

import pytest

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines, read_text


def test_lines_are_numbered_and_a_byte_order_mark_is_dropped(place):
    path = place / "text.txt"
    path.write_bytes("\ufeffone\r\ntwo\n\nvier é".encode())
    assert list(read_lines(path)) == [(1, "one\r\n"), (2, "two\n"), (3, "\n"), (4, "vier é")]
    assert list(read_lines(path, longest=4))[-2:] == [(4, "vier"), (4, " é")]


def test_gz_is_unpacked(place):
    path = place / "text.gz"
    path.write_bytes(gzip.compress(b"a\nb\n"))
    assert read_text(path) == "a\nb\n"


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"fine\ncaf\xe9 au lait\n", "utf-8", r"line 2: byte 0xe9 is not valid utf-8.*--encoding"),
        (b"fine\n", "klingon", "Python knows no such encoding"),
        (b"fine\n", "utf-16", r"(?i)utf-16.* name the file's encoding"),
        (b"fine\n", "base64", "Python knows no such encoding"),
        (b"\xef\xbb\xbfcaf\xe9\n", "latin-1", "is not valid utf-8, though its byte order mark"),
        (b"\xff\xfea\0b", "utf-8", "is not valid utf-16, though its byte order mark"),
        ("fine\n".encode("utf-16-le"), "utf-8", "without .* mark; give --encoding utf-16-le"),
        ("fine\n".encode("utf-16-be"), "utf-8", "without .* mark; give --encoding utf-16-be"),
        (b"PK\x03\x04\x14", "utf-8", "Excel workbook; export its table as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1", "utf-8", "an Excel workbook"),
        (b"PAR1\x15", "utf-8", "a Parquet file"),
        (gzip.compress(b"a", mtime=0), "utf-8", "packed by gzip; give it a name that ends in .gz"),
    ],
)
def test_wrong_encoding_is_named(tmp_path, content, encoding, message):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_lines(path, encoding))


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (b"caf\xe9\n", "latin-1", "café\n"),
        ("\ufeffé\n".encode(), "utf-8-sig", "é\n"),
        ("\ufeffé\n".encode(), "cp1252", "é\n"),  # the mark says more than the option
        ("é\r\nb\r\n".encode("utf-16"), "utf-8", "é\nb\n"),
        ("\ufeffé\u2028b\n".encode("utf-16-be"), "utf-8", "é\u2028b\n"),
        ("\ufeffé".encode("utf-32-le"), "utf-8", "é"),
        ("é\nb".encode("utf-16-le"), "utf-16-le", "é\nb"),
        (b"a\rb\r\rc", "utf-8", "a\nb\n\nc"),  # an old Mac's
        (b"a\rb\r", "latin-1", "a\nb\n"),
        (b"a\r", "utf-8", "a\r"),
        (b"a\rb\n", "utf-8", "a\rb\n"),
    ],
)
def test_the_right_encoding_reads_it(tmp_path, content, encoding, text):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    assert read_text(path, encoding) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_long_files_of_all_kinds_have_the_same_lines(tmp_path, encoding, end):
    lines = [f"line {number} é" * (number % 40) for number in range(3000)]
    lines[7] = "word " * 40_000
    path = tmp_path / "text.txt.gz"
    path.write_bytes(gzip.compress(end.join(lines).encode(encoding)))
    found = [line.rstrip("\r\n") for _, line in read_lines(path)]
    assert found == lines
    parts = list(read_lines(path, longest=1000))
    assert max(len(part) for _, part in parts) <= 2000
    by_line = [""] * len(lines)
    for number, part in parts:
        by_line[number - 1] += part.rstrip("\r\n")
    assert by_line == lines


def test_a_wrong_byte_after_the_first_piece(tmp_path):
    path = tmp_path / "mac.txt"
    path.write_bytes(b"fine\r" * 9000 + b"caf\xe9\r")
    with pytest.raises(InputError, match=r"after line \d+: byte 0xe9 is not valid utf-8"):
        list(read_lines(path))


def test_damaged_gzip_names_the_last_good_line(tmp_path):
    path = tmp_path / "text.gz"
    # Stored without compression, so that the lines before the cut can be read.
    whole = gzip.compress(b"".join(b"line %d\n" % i for i in range(20_000)), compresslevel=0)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"damaged gzip file after line \d{3,}"):
        list(read_lines(path))
    compressed = bytearray(gzip.compress(b"some text, " * 50))
    compressed[12:20] = b"\xff" * 8
    path.write_bytes(compressed)
    with pytest.raises(InputError, match="damaged gzip"):
        list(read_lines(path))
    path.write_bytes(b"not gzip at all")
    with pytest.raises(InputError, match="damaged gzip"):
        list(read_lines(path))


def test_missing_file_and_folder(place, tmp_path):
    with pytest.raises(InputError, match=f"{place}/absent: no such file"):
        list(read_lines(place / "absent"))
    with pytest.raises(InputError, match="is a folder"):
        list(read_lines(tmp_path))
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot be read: "):
            list(read_lines(path))

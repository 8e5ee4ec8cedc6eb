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
        (b"fine\n", "utf-16", "only encodings that extend ASCII"),
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
    ],
)
def test_the_right_encoding_reads_it(tmp_path, content, encoding, text):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    assert read_text(path, encoding) == text


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

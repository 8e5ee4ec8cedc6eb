import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.text.vocabulary import read_vocabulary


def test_kinds_of_pieces(vocabulary):
    special = {vocabulary.pieces[i] for i in np.flatnonzero(vocabulary.is_special())}
    assert special == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]"}
    continuing = vocabulary.is_continuation()
    assert continuing[vocabulary.ids["##s"]] and not continuing[vocabulary.ids["#"]]


def test_file_with_crlf_and_blank_end(vocabulary, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join(vocabulary.pieces).encode() + b"\r\n\r\n")
    assert read_vocabulary(path).pieces == vocabulary.pieces


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[PAD]\n[UNK]\n", r"has no \[CLS\]"),
        ("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\na\n", "'a' occurs in it twice"),
    ],
)
def test_files_that_are_not_vocabularies(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_vocabulary(path)

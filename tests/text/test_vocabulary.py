import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.text.vocabulary import find_vocabulary, read_vocabulary


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


@pytest.mark.parametrize(
    "name",
    ["assets/tokenizer/vocabulary.txt", "model/assets/tokenizer/vocabulary.txt", "vocab.txt"],
)
def test_a_model_stands_for_its_vocabulary(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    assert find_vocabulary(str(tmp_path)) == str(tmp_path / name)


def test_the_embedded_models_vocabulary_is_found_by_its_name():
    assert len(read_vocabulary(find_vocabulary("embedded"))) == 8000


def test_a_folder_without_a_vocabulary_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--vocab .*no model with a vocabulary file"):
        find_vocabulary(str(tmp_path))

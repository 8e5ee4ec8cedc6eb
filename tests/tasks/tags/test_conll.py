"""CoNLL's form: what is read, and what is refused."""

import pytest

from tfbert.errors import InputError
from tfbert.tasks.tags.conll import Sentence, read_conll


def written(tmp_path, text):
    path = tmp_path / "words.conll"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "EU\tB-org\nsays\tO\n\nBonn\tB-loc\n",
        "\n\nEU\tB-org\r\nsays\tO\r\n\r\nBonn\tB-loc",
        "EU\tB-org\nsays\tO\n\t\nBonn\tB-loc\n\t\n",  # blank lines that hold a tab
        "-DOCSTART- -X- O\n\nEU NNP B-org\nsays VBZ O\n\nBonn NNP B-loc\n",
        "# sentence 1\nEU\tB-org\nsays\tO\n\nBonn\tB-loc\n",
    ],
)
def test_the_forms_in_use(tmp_path, text):
    assert read_conll(written(tmp_path, text)) == [
        Sentence(["EU", "says"], ["B-org", "O"]),
        Sentence(["Bonn"], ["B-loc"]),
    ]


def test_other_columns(tmp_path):
    path = written(tmp_path, "1 EU NNP B-org\n2 says VBZ O\n")
    assert read_conll(path, 1, 2) == [Sentence(["EU", "says"], ["NNP", "VBZ"])]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no words"),
        ("EU\tB-org\nsays\n", "line 2: 1 columns, where the lines before have 2"),
        ("EU\tB-org\n\tO\n", "line 2: the word or its label is empty"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason):
        read_conll(written(tmp_path, text))


def test_words_alone_have_no_labels(tmp_path):
    assert read_conll(written(tmp_path, "EU\nsays\n\nBonn\n")) == [
        Sentence(["EU", "says"], None),
        Sentence(["Bonn"], None),
    ]


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="line 1: 2 columns, so there is no column 3"):
        read_conll(written(tmp_path, "EU\tB-org\n"), 0, 3)

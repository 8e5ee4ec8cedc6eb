"""Tagged words from CoNLL files and JSON lists; what is to be tagged; what is refused."""

import json

import pytest

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import Layout
from tfbert.tasks.tags.reading import has_no_tags, read_tagged, tagging_inputs

CONLL = "EU\tx\tB-org\nsays\tx\tO\n\nBonn\tx\tB-loc\n"


def written(tmp_path, text, name="words.conll"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return str(path)


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_conll(tmp_path):
    path = written(tmp_path, CONLL)
    words = [["EU", "says"], ["Bonn"]]
    assert read_tagged(path, Layout("conll")) == Examples(words, [["B-org", "O"], ["B-loc"]])
    by_number = Layout("conll", "0", "1")
    assert read_tagged(path, by_number).labels == [["x", "x"], ["x"]]
    assert read_tagged(path, Layout("conll"), labelled=False) == Examples(words, None)
    assert not has_no_tags(path, Layout("conll"))
    assert has_no_tags(written(tmp_path, "EU\nsays\n"), Layout("conll"))


def test_json(tmp_path):
    layout = Layout("jsonl", "tokens", "tags")
    text = lines({"tokens": ["EU", "says"], "tags": [3, 0]}, {"tokens": ["Bonn"], "tags": [5]})
    path = written(tmp_path, text, "words.jsonl")
    assert read_tagged(path, layout) == Examples([["EU", "says"], ["Bonn"]], [["3", "0"], ["5"]])
    assert has_no_tags(written(tmp_path, lines({"tokens": ["EU"]}), "words.jsonl"), layout)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "line 2: 2 words and 1 tags"),
        ({"tokens": ["a"], "tags": [""]}, "line 2: a tag is empty"),
        ({"tokens": ["a"], "tags": [None]}, "line 2: None in a list is no word and no tag"),
        ({"tokens": "a b", "tags": ["O", "O"]}, "line 2: a list of words, and one of their tags"),
    ],
)
def test_bad_json_is_named_with_its_line(tmp_path, row, reason):
    path = written(tmp_path, lines({"tokens": ["a"], "tags": ["O"]}, row), "words.jsonl")
    with pytest.raises(InputError, match=f"words.jsonl, {reason}"):
        read_tagged(path, Layout("jsonl", "tokens", "tags"))


def test_other_forms_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"tags are read from CoNLL files.*and from JSON"):
        read_tagged(written(tmp_path, "text,label\na,b\n", "words.csv"), Layout("csv"))
    with pytest.raises(InputError, match="--text-pair-column other: labels of words are asked of"):
        read_tagged(written(tmp_path, CONLL), Layout("conll", pair_column="other"))
    with pytest.raises(InputError, match="one column; a word and its tag"):
        read_tagged(written(tmp_path, "EU\n"), Layout("conll"))
    with pytest.raises(InputError, match="--label-column ner: columns of a CoNLL file have no nam"):
        read_tagged(written(tmp_path, CONLL), Layout("conll", label_column="ner"))


def test_inputs_of_every_kind_of_file(tmp_path):
    def inputs(path, layout=None):
        return [(found.example.texts[0], found.row) for found in tagging_inputs(path, layout)]

    layout = Layout()
    assert inputs(written(tmp_path, CONLL), layout) == [
        (["EU", "says"], {"words": ["EU", "says"], "tags": ["B-org", "O"]}),
        (["Bonn"], {"words": ["Bonn"], "tags": ["B-loc"]}),
    ]
    assert inputs(written(tmp_path, "EU\n\nBonn\n"), layout) == [
        (["EU"], {"words": ["EU"]}),
        (["Bonn"], {"words": ["Bonn"]}),
    ]
    # Of the training data, which were in another form, the columns may have had names.
    assert inputs(written(tmp_path, "EU\n"), Layout("jsonl", "tokens", "tags")) == [
        (["EU"], {"words": ["EU"]})
    ]
    rows = {"id": 1, "text": "EU says"}, {"id": 2, "text": ["EU", "says"]}
    path = written(tmp_path, lines(*rows), "texts.jsonl")
    assert inputs(path, layout) == [("EU says", rows[0]), (["EU", "says"], rows[1])]
    path = written(tmp_path, "id,text\n1,EU says\n", "texts.csv")
    assert inputs(path, layout) == [("EU says", {"id": "1", "text": "EU says"})]
    assert inputs(written(tmp_path, "EU says\n\n", "texts.txt"), layout) == [
        ("EU says", None),
        ("", None),
    ]

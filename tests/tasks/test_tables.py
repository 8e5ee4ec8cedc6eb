import pytest

from tfbert.errors import InputError
from tfbert.tasks.tables import read_table


def read(tmp_path, content, form, text="text", label="label"):
    path = tmp_path / f"data.{form}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, form, text, label)


def test_csv_with_quotes_commas_and_line_breaks(tmp_path):
    examples = read(tmp_path, 'label,text\nbad,"dull, ""long""\nand loud"\ngood,fine\n', "csv")
    assert examples.texts == ['dull, "long"\nand loud', "fine"]
    assert examples.labels == ["bad", "good"]


def test_quotes_in_tsv_are_ordinary_characters(tmp_path):
    examples = read(tmp_path, 'text\tlabel\n"half a quote\t0\n"whole"\t1\n', "tsv")
    assert examples.texts == ['"half a quote', '"whole"']


def test_jsonl_with_string_and_integer_labels(tmp_path):
    content = '{"text": "a", "label": 3}\n\n{"label": "x", "text": "b", "more": [1]}\n'
    examples = read(tmp_path, content, "jsonl")
    assert examples.texts == ["a", "b"]
    assert examples.labels == ["3", "x"]


def test_blank_lines_and_very_long_texts(tmp_path):
    examples = read(tmp_path, "\ntext,label\n\n" + "x" * 200_000 + ",1\n\n", "csv")
    assert len(examples.texts[0]) == 200_000


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("csv", "", "the file is empty"),
        ("csv", "text,label\n", "holds no examples"),
        ("csv", "text,label,text\n1,2,3\n", "2 columns are named 'text'"),
        ("jsonl", "\n\n", "holds no examples"),
        ("csv", "a,b\n1,2\n", "no column 'text'; its columns are a, b .*--text-column"),
        ("csv", "text,label\nx,1\ny\n", "line 3: 1 columns, the header has 2"),
        ("csv", "text,label\nx,1\na,b,1\n", "line 3: 3 columns.*must be quoted"),
        ("tsv", "text\tlabel\nx\t1\ty\n", "line 2: 3 columns"),
        ("csv", "text,label\nx,\n", "line 2: the label is empty"),
        ("csv", 'text,label\n"x,1\n', "line 2: not a csv row"),
        ("csv", b"text,label\nx,1\n\xff,2\n", "line 3: byte 0xff"),
        ("jsonl", "{]\n", "line 1: not JSON"),
        ("jsonl", "[1]\n", "line 1: not a JSON object"),
        ("jsonl", '{"text": "a"}\n', "line 1: no key 'label'; its keys are text"),
        ("jsonl", '{"text": 5, "label": 1}\n', "the text must be a string"),
        ("jsonl", '{"text": "a", "label": 1.5}\n', "a string or an integer, not 1.5"),
        ("jsonl", '{"text": "\\ud800", "label": 1}\n', "half a surrogate pair"),
        ("jsonl", '{"text": "a", "label": "\\ud800"}\n', "half a surrogate pair"),
        ("jsonl", '{"text": "a", "label": true}\n', "a string or an integer, not True"),
        ("jsonl", '{"text": "a", "label": 1' + "0" * 5000 + "}\n", "line 1: not JSON"),
        ("jsonl", "[" * 100_000, "line 1: not JSON"),
    ],
)
def test_bad_input_is_named_by_line(tmp_path, form, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content, form)

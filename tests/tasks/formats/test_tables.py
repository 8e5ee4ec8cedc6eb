import pytest

from tfbert.errors import InputError
from tfbert.tasks.formats.tables import Layout, form_of, is_unlabelled, open_table, read_table
from tfbert.tasks.problems.classification import Classification


def read(tmp_path, content, form, text="text", label="label", **options):
    path = tmp_path / f"data.{form}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Classification.read(path, Layout(form, text, label, **options))


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


def test_keys_are_spelled_in_any_way_in_each_row(tmp_path):
    content = '{"text": "a", "label": 1, "Id": 7}\n{"Text": "b", "LABEL": 2, "id": 8}\n'
    assert read(tmp_path, content, "jsonl")[:2] == (["a", "b"], ["1", "2"])
    rows = open_table(tmp_path / "data.jsonl", Layout("jsonl"), ("text",)).rows
    assert [row.cells for row in rows][1] == {"text": "b", "LABEL": 2, "id": 8}


def test_text_and_label_are_two_columns(tmp_path):
    with pytest.raises(InputError, match="text and label are both 'a': give two columns"):
        read(tmp_path, "a,b\nx,1\n", "csv", text="a", label="A")


def read_pairs(tmp_path, content, label="label"):
    path = tmp_path / "pairs.csv"
    path.write_text(content)
    layout = Layout("csv", "a", label, "b")
    return read_table(path, layout, Classification.label_of)


def test_pairs(tmp_path):
    examples = read_pairs(tmp_path, "a,b,label\none,two,1\n,,\nthree,four,0\n")
    assert examples[:3] == (["one", "three"], ["1", "0"], ["two", "four"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,label\none,two,1\nthree, ,0\n", r"pairs.csv, line 3: one text of .* empty \(b\)"),
        ("a,b,label\n,two,1\n", r"pairs.csv, line 2: one text of .* empty \(a\)"),
        (
            "a,c,label\none,two,1\n",
            r"no column 'b'; its columns are a, c, label \(--text-pair-column chooses another",
        ),
    ],
)
def test_a_row_without_a_pair(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path, content)


def test_texts_and_label_are_three_columns(tmp_path):
    with pytest.raises(InputError, match="two of texts and label are both 'b': give a column each"):
        read_pairs(tmp_path, "a,b\none,1\n", label="B")


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
        ("csv", "text,label\nx,1\ny\n", "line 3: 1 column, the header has 2; .*empty columns"),
        ("csv", "text,label\nx,1\na,b,1\n", "line 3: 3 columns.*must be quoted"),
        ("tsv", "text\tlabel\nx\t1\ty\n", "line 2: 3 columns"),
        ("csv", "text,label\nx,\n", "line 2: the label is empty"),
        ("csv", 'text,label\n"x,1\n', "line 2: not a csv row"),
        ("csv", b"text,label\nx,1\n\xff,2\n", "line 3: byte 0xff"),
        ("jsonl", "{]\n", "line 1: not JSON"),
        (
            "jsonl",
            '{"text": "a",\n"label": 1}\n{}',
            r"line 1: not JSON: .*character 14",
        ),
        ("jsonl", "[1]\n", "line 1: not a JSON object"),
        (
            "jsonl",
            '{"text": "a"}\n',
            r"line 1: no key 'label'; its keys are text \(--label-column chooses [^;]*\)$",
        ),
        ("jsonl", '{"text": 5, "label": 1}\n', "the text must be a string"),
        ("jsonl", '{"text": "a", "label": NaN}\n', "a string, a number, true or false, not nan"),
        ("jsonl", '{"text": "\\ud800", "label": 1}\n', "half a surrogate pair"),
        ("jsonl", '{"text": "a", "label": "\\ud800"}\n', "half a surrogate pair"),
        ("jsonl", '{"text": "a", "label": null}\n', "a string, a number, .*, not None"),
        ("jsonl", '{"text": "a", "label": [1]}\n', r"a string, a number, .*, not \[1\]"),
        ("jsonl", '{"text": "a", "label": 1' + "0" * 5000 + "}\n", "line 1: not JSON"),
        ("jsonl", "[" * 100_000, "line 1: not JSON"),
    ],
)
def test_bad_input_is_named_by_line(tmp_path, form, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content, form)


PAIR = (["fine, thanks", "so-so"], ["good", "bad"])


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("csv", 'text,label\n"fine, thanks",good\nso-so,bad\n'),
        ("csv", "text;label\nfine, thanks;good\nso-so;bad\n"),
        ("csv", "id;label;text\n1,5;good;fine, thanks\n2,5;bad;so-so\n"),
        ("csv", "text\tlabel\nfine, thanks\tgood\nso-so\tbad\n"),
        ("csv", "text|label\nfine, thanks|good\nso-so|bad\n"),
        ("csv", "sep=;\ntext;label\nfine, thanks;good\nso-so;bad\n"),
        ("csv", 'sep=,\r\ntext,label\r\n"fine, thanks",good\r\nso-so,bad\r\n'),
        ("csv", "sep=^\ntext^label\nfine, thanks^good\nso-so^bad\n"),
        ("csv", '"text";"label"\r\n"fine, thanks";"good"\r\n"so-so";"bad"\r\n'),
        ("csv", 'text,label\r"fine, thanks",good\rso-so,bad\r'),
        ("csv", 'Text, LABEL\n"fine, thanks",good\nso-so,bad\n'),
        ("csv", 'text,label\n"fine, thanks",good,\nso-so,bad,,\n,\n'),
        ("csv", 'text,label,,\n"fine, thanks",good,,\nso-so,bad,,\n'),
        ("csv", '\ufefftext,label\n"fine, thanks",good\nso-so,bad\n'),
        ("csv", "text\tlabel\nfine, thanks\tgood\nso-so\tbad\n".encode("utf-16")),
        ("csv", "\ufefftext;label\rfine, thanks;good\rso-so;bad".encode("utf-16-be")),
        ("tsv", "text\tlabel\nfine, thanks\tgood\nso-so\tbad\n"),
        ("tsv", "label\ttext\r\ngood\tfine, thanks\r\nbad\tso-so\r\n"),
        ("tsv", 'text,label\n"fine, thanks",good\nso-so,bad\n'),
        ("jsonl", '[{"text": "fine, thanks", "label": "good"}, {"text": "so-so", "label": "bad"}]'),
        (
            "jsonl",
            '[\n {"text": "fine, thanks",\n  "label": "good"},\n'
            ' {"label": "bad", "text": "so-so"}\n]\n',
        ),
        ("jsonl", '\n{"text": "fine, thanks", "label": "good"}\n{"label": "bad", "text": "so-so"}'),
    ],
)
def test_one_table_as_many_programs_write_it(tmp_path, form, content):
    assert read(tmp_path, content, form)[:2] == PAIR


@pytest.mark.parametrize(
    ("form", "content", "texts"),
    [
        # Backslashes, where quotes of spreadsheets do not fit the file.
        ("csv", 'text,label\n"he said \\"no, no\\"",1\n"C:\\\\",0\n', ['he said "no, no"', "C:\\"]),
        ("csv", 'text,label\n"\\"No\\", he said",1\nb,0\n', ['"No", he said', "b"]),
        # And where they do.
        ("csv", 'text,label\n"C:\\",1\n"a \\""b""",0\n', ["C:\\", 'a \\"b"']),
        # Spaces before quotes.
        ("csv", 'label, text\n1, "a, ""b"""\n0, c\n', ['a, "b"', "c"]),
        # Texts over several lines in a .tsv can only be quoted ones.
        ("tsv", 'text\tlabel\n"one\ntwo ""2"""\t1\nb\t0\n', ['one\ntwo "2"', "b"]),
        ("tsv", 'text\tlabel\n"a\tb"\t1\nc\t0\n', ["a\tb", "c"]),
        ("tsv", 'text\tlabel\n"one"\t1\n""two\t0\n', ['"one"', '""two']),
    ],
)
def test_quotes_are_read_as_the_whole_file_allows(tmp_path, form, content, texts):
    assert read(tmp_path, content, form).texts == texts


@pytest.mark.parametrize(
    ("separator", "content"),
    [
        ("tab", "text\tlabel\na,b\t1\n"),
        ("^", "text^label\na,b^1\n"),
        (r"\t", "text\tlabel\na,b\t1"),
    ],
)
def test_a_separator_by_name(tmp_path, separator, content):
    assert read(tmp_path, content, "csv", separator=separator)[:2] == (["a,b"], ["1"])


def test_a_separator_that_is_a_guess_is_that_of_the_columns(tmp_path):
    content = "text,more;label\nx,y;1\n"
    assert read(tmp_path, content, "csv", "text,more").texts == ["x,y"]
    with pytest.raises(InputError, match="no column 'text'; its columns are text,more, label "):
        read(tmp_path, content, "csv", separator=";")


@pytest.mark.parametrize(
    ("form", "content", "labels"),
    [
        ("jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 0.0}\n', ["1", "0"]),
        ("jsonl", '{"text": "a", "label": 1.5}\n{"text": "b", "label": "x "}\n', ["1.5", "x"]),
        (
            "jsonl",
            '{"text": "a", "label": true}\n{"text": "b", "label": false}\n',
            ["true", "false"],
        ),
        ("csv", "text,label\na,1.0\nb,True\n", ["1.0", "True"]),
    ],
)
def test_labels_that_are_no_strings(tmp_path, form, content, labels):
    assert read(tmp_path, content, form).labels == labels


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("csv", '{"text": "a", "label": 1}\n', "holds JSON, not a csv table: --task jsonl"),
        ("tsv", '[\n{"text": "a"}\n]', "holds JSON, not a tsv table: --task jsonl"),
        ("jsonl", "text,label\na,1\n", "line 1: not JSON; a table .* --task csv or tsv"),
        ("jsonl", '{\n"text": "a",\n"label": 1\n}\n', "is a single JSON object; write an array"),
        (
            "jsonl",
            '{"text": {"0": "a"}, "label": {"0": 1}}',
            "not {'0': 'a'} .is it a table",
        ),
        ("jsonl", '[{"text": "a"},\n {"text": }]', "line 2: not JSON: Expecting value"),
        ("jsonl", '[{"text": "a", "label": 1},\n 5]', "item 2: not a JSON object"),
        ("jsonl", '[{"text": "a", "label": 1},\n {"text": "b"}]', "item 2: no key 'label'"),
        ("jsonl", "[]", "holds no examples"),
        ("csv", "sep=;\n", "the file is empty"),
        ("csv", "text,label\nnice\rday,1\n", "line 2: .*a carriage return stands outside quotes"),
        ("csv", 'text,label\nx,1\n"a" b,1\n', "line 3: not a csv row"),
        ("csv", "Text,TEXT,label\nx,y,1\n", "no column 'text'; its columns are Text, TEXT, label"),
    ],
)
def test_what_a_table_is_instead(tmp_path, form, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content, form)


def test_rows_with_all_their_cells(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('n,,text,n\n1,x,"a\nb",2\n\n2,y,,3\n')
    table = open_table(path, Layout("csv"), ("text",))
    assert table.columns == ["text"]
    assert [row.cells for row in table.rows] == [
        {"n": "1", "column 2": "x", "text": "a\nb", "n (2)": "2"},
        {"n": "2", "column 2": "y", "text": "", "n (2)": "3"},
    ]
    path.write_text('text\n""\na\n\n')
    assert [row.cells for row in open_table(path, Layout("csv"), ("text",)).rows] == [
        {"text": ""},
        {"text": "a"},
    ]


@pytest.mark.parametrize(
    ("name", "content", "unlabelled"),
    [
        ("a.csv", "text,id\nx,1\n", True),
        ("a.csv", "text,label\nx,\ny,\n", True),
        ("a.tsv", "text\tlabel\nx\t-1\ny\t-1\n", True),
        ("a.csv", "text,label\nx,\ny,1\n", False),
        ("a.csv", "text,Label\nx,0\n", False),
        ("a.csv", "text,label\n", False),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"}\n', True),
        ("a.jsonl", '{"text": "a", "label": 0}\n', False),
        ("a.jsonl", '{"text": "a", "label": null}\n', True),
    ],
)
def test_whether_a_table_has_labels(tmp_path, name, content, unlabelled):
    (tmp_path / name).write_text(content)
    assert is_unlabelled(tmp_path / name, Layout(form_of(name))) is unlabelled


def test_forms_by_name():
    names = ["a.csv", "b.CSV.gz", "c.tsv", "d.jsonl", "e.json", "f.ndjson.gz", "g.txt", "csv", "-"]
    assert [form_of(name) for name in names] == ["csv"] * 2 + ["tsv"] + ["jsonl"] * 3 + [None] * 3

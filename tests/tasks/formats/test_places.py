import pytest

from tfbert.tasks.formats.places import place_of_label
from tfbert.tasks.formats.tables import Layout


@pytest.mark.parametrize(
    ("form", "content", "line"),
    [
        ("csv", "text,label\na,x\nb, y\nc,y\n", "line 3"),
        ("csv", 'text,label\na,x\n"b\nb","x, y"\n', "line 4"),
        ("tsv", "text\tLabel\na\tx\nb\ty\n", "line 3"),
        ("jsonl", '{"text": "a", "label": "x"}\n\n{"text": "b", "label": ["x", "y"]}\n', "line 3"),
        ("conll", "a\tx\n\nb\ty\n", "line 3"),
        ("csv", "text,label\ny,x\n", None),
        ("csv", "text\ny\n", None),
        ("squad", "{}", None),
    ],
)
def test_the_first_row_with_a_label(tmp_path, form, content, line):
    path = tmp_path / "data"
    path.write_text(content)
    found = place_of_label(path, Layout(form), ["y"])
    assert found == (line and f"{path}, {line}")


def test_labels_that_the_task_names(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("text,label\na,0\nb,True\n")
    assert place_of_label(path, Layout("csv"), ["positive", "1", "true"]) == f"{path}, line 3"

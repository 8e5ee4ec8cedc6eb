"""Files without a header, and published files with a few broken rows."""

import logging

import pytest

from tfbert.errors import InputError
from tfbert.tasks.formats.delimited import open_delimited

NAMES = ("source", "label", "mark", "sentence")


def rows(tmp_path, content, wanted=("sentence", "label"), form="tsv", separator=None, **options):
    path = tmp_path / f"data.{form}"
    path.write_text(content)
    table = open_delimited(path, form, wanted, "utf-8", separator, **options)
    return table.columns, [(row.place, *row.cells.values()) for row in table.rows]


def test_a_file_without_a_header(tmp_path):
    columns, found = rows(tmp_path, 'a\t1\t\tOne "two.\n\nb\t0\t*\tThree\n', names=NAMES)
    assert columns == ["sentence", "label"]
    assert found == [("line 1", "a", "1", "", 'One "two.'), ("line 3", "b", "0", "*", "Three")]


def test_a_file_that_has_one_all_the_same(tmp_path):
    content = "index\tsentence\n0\tOne.\n"
    for form, text in (("tsv", content), ("csv", '"index","sentence"\n0,One.\n')):
        _, found = rows(tmp_path, text, wanted=("sentence",), form=form, names=NAMES)
        assert found == [("line 2", "0", "One.")]


def test_separators_without_a_header(tmp_path):
    _, found = rows(tmp_path, 'a,1,,"One, two."\n', form="csv", names=NAMES)
    assert found == [("line 1", "a", "1", "", "One, two.")]
    _, found = rows(tmp_path, "a;1;;One, two.\n", form="csv", names=NAMES, separator=";")
    assert found == [("line 1", "a", "1", "", "One, two.")]


def test_another_number_of_columns_is_named(tmp_path):
    message = r"data.tsv, line 2: 3 columns, and such a file has 4: source, label, mark, sentence"
    with pytest.raises(InputError, match=message):
        rows(tmp_path, "a\t1\t\tOne.\nb\t0\tTwo.\n", names=NAMES)


def test_an_empty_file(tmp_path):
    with pytest.raises(InputError, match=r"data.tsv: the file is empty"):
        rows(tmp_path, "\n", names=NAMES)


def test_broken_rows_of_a_published_file_are_left_out(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    content = 'sentence\tlabel\none\t1\nbroken\n"half\t0\nthree\t1\t1\nfour\t0\n'
    _, found = rows(tmp_path, content, drops_broken=True)
    assert [row[1] for row in found] == ["one", '"half', "four"]
    assert "2 rows do not have 2 columns and are left out, the first one in line 3" in caplog.text

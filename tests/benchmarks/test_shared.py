"""What the benchmarks share."""

import pathlib

import pytest

from tfbert.errors import InputError


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    folder = pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))


def test_what_is_not_installed_is_named_in_one_line(capsys):
    from shared.page import require

    require("json")
    with pytest.raises(SystemExit) as stopped:
        require("json", "no_such_library")
    assert stopped.value.code == 2
    assert "error: not installed: no_such_library; " in capsys.readouterr().err.splitlines()[0]


def test_a_cell_is_measured_once(tmp_path):
    from shared.cells import Cells

    cells = Cells(tmp_path / "cells")
    assert cells.measure("a", lambda: {"seconds": 1})["seconds"] == 1
    again = Cells(tmp_path / "cells").measure("a", lambda: {"seconds": 2})
    assert again["seconds"] == 1
    assert set(again) == {"seconds", "commit"}


def test_numbers_of_another_setting_are_not_mixed(tmp_path):
    from shared.cells import Cells

    cells = Cells(tmp_path / "cells")
    cells.require_setting({"machine": "a", "rows": [1]})
    cells.require_setting({"machine": "a", "rows": [1]})
    with pytest.raises(InputError, match="its numbers are of another machine; give"):
        cells.require_setting({"machine": "b", "rows": [1]})


def test_turns_go_forth_and_back():
    from shared.turns import in_turns, take_turns

    assert list(in_turns(["a", "b"], 2)) == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]
    calls = []
    forms = {name: lambda steps, name=name: calls.append((name, steps)) or 0.5 for name in "ab"}
    assert take_turns(forms, 3, 2, warmup=1) == {"a": [0.5, 0.5], "b": [0.5, 0.5]}
    assert calls == [("a", 1), ("b", 1), ("a", 3), ("b", 3), ("b", 3), ("a", 3)]


def test_a_table():
    from shared.page import table

    assert table(["", "ms"], [["ours", 1]]) == ["| | ms |", "|---|---|", "| ours | 1 |"]

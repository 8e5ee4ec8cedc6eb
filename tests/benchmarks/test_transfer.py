"""The script that writes docs/benchmark_transfer.md, as far as it needs no data."""

import pathlib

import pytest


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_start_that_was_made_with_other_options_is_refused(
    tmp_path, capsys, monkeypatch, content
):
    folder = pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    import transfer

    start = tmp_path / "random"
    start.mkdir()
    if content:
        (start / transfer.MADE_WITH).write_text(content)
    with pytest.raises(SystemExit) as stopped:
        transfer.Bench(tmp_path, tmp_path, tiny=True).model("random")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{start}: was made with other options than mini_cpu: delete it")

"""The commands and the code of docs/prepare.md do what the page says."""

import re
import shlex
from pathlib import Path

import pytest

from tfbert.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "prepare.md").read_text("utf-8")


@pytest.fixture
def corpus(tmp_path, monkeypatch, make_text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "text.txt").write_text(make_text(500))


def test_commands_and_code(corpus, capsys):
    (commands,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for command in commands.splitlines():
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    assert "500 documents" in capsys.readouterr().out
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, names)
    assert names["token_ids"].shape == (128,)
    assert names["records"].batch(1000)["token_ids"].shape == (256, 128)
    assert set(names["features"]) == set(names["records"].batch(0)) - {
        "mask_positions",
        "mask_ids",
        "mask_weights",
    }

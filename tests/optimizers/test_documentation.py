"""The examples of docs/optimizers.md run, and so does the benchmark behind its page."""

import pathlib
import re
import runpy
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BENCHMARK = ROOT / "scripts" / "benchmarks" / "optimizers.py"


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "optimizers.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    assert len(blocks) == 5
    exec("\n".join(blocks), {})
    assert list((tmp_path / "runs" / "logs" / "optimizer").iterdir())


@pytest.fixture
def no_other_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):  # the script sets them for good
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(sys, "argv", [str(BENCHMARK), "--tiny", "--rounds", "1"])
    sys.argv += ["--torch-python", "false"]  # the command, which ends at once
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))


@pytest.mark.slow
def test_the_benchmark_leaves_out_what_is_not_installed(no_other_libraries, tmp_path):
    page = tmp_path / "page.md"
    sys.argv += ["--output", str(page)]
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    text = page.read_text()
    assert "Left out, because not installed: jax, torch." in text
    assert "| keras Lamb, MirroredStrategy | " in text
    assert "optax" not in text
    assert re.search(r"LAMB's state is 2\.0\d* float32 values a parameter, 3\.0", text)

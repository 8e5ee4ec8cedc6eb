"""`tfbert plan`: what it prints, writes and refuses."""

import json
import re
import subprocess
import sys

import pytest
from helpers.error_lines import error_line

from tfbert.cli import main

LAMB = ["plan", "--recipe", "lamb_76min", "--hardware", "v3-2048"]


def content_of(tmp_path, *words):
    file = tmp_path / "plan.json"
    assert main([*words, "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_the_papers_run_in_the_papers_time(tmp_path, capsys):
    found = content_of(tmp_path, *LAMB)
    assert found["seconds"] == pytest.approx(76.19 * 60, rel=0.1)  # You et al., table 1
    # 6 operations a parameter and token, of some 330 million parameters; attention on top.
    tokens = 7_037 * 65_536 * 128 + 1_562 * 32_768 * 512
    assert 0.9 < sum(p["operations"] for p in found["phases"]) / (6 * 320e6 * tokens) < 1.2
    assert [phase["sequences_at_once"] for phase in found["phases"]] == [32, 16]
    text = capsys.readouterr().out
    assert "1,024 TPU v3 chips, 2,048 cores" in text and "list price" in text


def test_the_price_is_that_of_the_time(tmp_path):
    words = ["plan", "--recipe", "base_one_gpu", "--hardware", "8xA100", "--price-per-hour", "12.5"]
    found = content_of(tmp_path, *words)
    assert found["price"] == pytest.approx(12.5 * found["seconds"] / 3_600)
    assert found["seconds"] == pytest.approx(sum(p["seconds"] for p in found["phases"]))


def test_without_a_price_none_is_printed(tmp_path, capsys):
    found = content_of(tmp_path, "plan", "--recipe", "base_one_gpu", "--hardware", "1xA100")
    assert found["price"] is None
    assert "price" not in capsys.readouterr().out


def test_what_does_not_fit_names_what_does(capsys):
    words = ["plan", "--recipe", "base_one_gpu", "--hardware", "v5litepod-4"]
    assert main(words) == 0
    found = re.search(r"does not fit: .*--device-tokens (\d+)", capsys.readouterr().out)
    assert main([*words, "--device-tokens", found[1]]) == 0
    assert "does not fit" not in capsys.readouterr().out


def test_stages_are_phases_with_less_to_do(tmp_path):
    words = ["plan", "--recipe", "base_one_gpu", "--hardware", "8xA100"]
    whole = content_of(tmp_path, *words)
    staged = content_of(tmp_path, *words, "--staging", "mslt")
    assert len(staged["phases"]) > len(whole["phases"])
    assert staged["seconds"] < 0.6 * whole["seconds"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--hardware", "8xA1000"], "--hardware 8xA1000 is not known"),
        (["--hardware", "1xT4", "--precision", "bfloat16"], "T4 is planned in float16 or float32"),
        (["--hardware", "3xT4"], "cannot be divided among 3 devices"),
        (["--hardware", "1xT4", "--price-per-hour", "0"], "--price-per-hour is 0"),
        (["--hardware", "1xT4", "--json", "nowhere/plan.json"], "there is no such folder"),
        ([], "--hardware must be given"),
    ],
)
def test_bad_options_are_refused_in_one_line(words, reason, capsys):
    assert reason in error_line(["plan", "--recipe", "base_one_gpu", *words], capsys)


def test_no_tensorflow_is_imported():
    code = (
        "import sys; from tfbert.cli import main\n"
        f"assert main({LAMB}) == 0\n"
        "assert not {'tensorflow', 'keras', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_teacher_adds_its_forward_pass_and_its_weights(tmp_path, capsys):
    words = ["plan", "--recipe", "base_one_gpu", "--size", "tiny", "--hardware", "1xA100"]
    words += ["--hidden-dim", "384", "--num-heads", "12"]  # the teacher's width: no projection
    alone = content_of(tmp_path, *words, "--no-next-sentence")
    both = ["--teacher", "embedded", "--teacher-share", "0.5"]
    taught = content_of(tmp_path, *words, "--no-next-sentence", *both)
    # Three layers of 384, forward: 2 operations a parameter and token, and attention.
    layer = 12 * 384**2
    for less, more in zip(alone["phases"], taught["phases"], strict=True):
        length = more["sequence_length"]
        tokens = more["steps"] * more["global_batch_size"] * length
        expected = 3 * 2 * (layer + 2 * length * 384) * tokens
        assert more["operations"] - less["operations"] == pytest.approx(expected)
    # 8,000 word pieces, 128 positions and 2 segments; 4 and 2 bytes a number.
    parameters = (8_000 + 128 + 2 + 2) * 384 + 3 * (layer + 13 * 384)
    pairs = zip(taught["phases"], alone["phases"], strict=True)
    added = [more["memory"] - less["memory"] for more, less in pairs]
    assert added == pytest.approx([6 * (parameters + 384**2 + 384)] * len(added), rel=1e-3)
    assert "teacher: 8," in capsys.readouterr().out
    only = content_of(tmp_path, *words, "--teacher", "embedded")
    assert only["parameters"] < alone["parameters"]
    assert [phase["predictions"] for phase in only["phases"]] == [0] * len(only["phases"])


def test_a_teacher_whose_size_is_not_at_hand_is_refused(capsys):
    words = ["plan", "--recipe", "quick", "--hardware", "1xT4", "--teacher", "hf://some/model"]
    assert "model hf://some/model: its size is read from a local" in error_line(words, capsys)

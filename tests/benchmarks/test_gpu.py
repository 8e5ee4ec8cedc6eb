"""The page of the benchmark on a GPU, from numbers as its measurements print them."""

import pathlib

import pytest

TIMES = {"seconds": 0.05, "least": 0.049, "most": 0.052, "first": 30.0, "memory": 2**34}
MACHINE = {
    "platform": "gpu",
    "device": "NVIDIA H100 80GB HBM3",
    "versions": {"JAX": "1.2.3"},
    "matmul": 790e12,
    "bandwidth": 3e12,
}


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    folder = pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))


def test_the_page_says_what_was_measured_and_what_was_not():
    from gpu_page import page

    found = {
        "tfbert base 128": {**TIMES, "batch": 256, "attention": "plain"},
        "torch base 128": {**TIMES, "batch": 256, "versions": {"torch": "9.9"}},
        "lamb": {**TIMES, "seconds": 0.004, "parameters": 336_000_000},
        "tfbert sst2": {**TIMES, "seconds": 0.01, "rows": 32, "padding": 0.33},
        "torch sst2": {**TIMES, "seconds": 0.025, "rows": 32, "padding": 0.5},
    }
    text = page(MACHINE, found, {"stock base 128": "no time was left"})
    # 69.9 GFLOP a sequence: 12 layers of 2 * 128 * (4 * 768^2 + 2 * 768 * 3072 + 2 * 128 * 768), a
    # masked-LM head of 2 * 20 * (768^2 + 768 * 30522), a pooler; three times; 5,120 sequences/s.
    ours = "| base | 128 | tfbert on JAX, LAMB (plain) | 256 | 5120 (4923 to 5224) | 36 % | 16.0 |"
    assert ours in text
    assert "50 % of the peak in each: not reached" in text
    assert "790 TFLOP/s in a large bfloat16 product, of 989 by its data sheet" in text
    assert "JAX 1.2.3, torch 9.9." in text
    assert "4.00 ms." in text and "takes 3.14 ms" in text and "1.28 times that" in text
    assert "tfbert is 2.50 times as fast; goal 2: reached." in text
    assert "- stock base 128: no time was left" in text
    assert "nothing" not in text.split("##")[0]


def test_peaks_are_those_of_the_data_sheets():
    from gpu_page import datasheet_peak

    assert datasheet_peak("NVIDIA A100-SXM4-40GB") == 312e12
    assert datasheet_peak("NVIDIA H200") == 989e12
    assert datasheet_peak("Tesla T4") is None  # has no bfloat16
    assert datasheet_peak("cpu") is None


def test_every_case_is_asked_of_a_script_that_is_there():
    from gpu import HERE, cases

    made = cases()
    assert list(made)[1] == "tfbert base 128"
    assert {script for script, _ in made.values()} == {"gpu_jax.py", "gpu_torch.py"}
    assert all((HERE / script).is_file() for script, _ in made.values())


def test_the_lengths_of_sst2_are_those_of_its_67349_sentences():
    from gpu_timing import sst2_lengths

    lengths = sst2_lengths()
    assert (len(lengths), lengths.min()) == (67_349, 3)

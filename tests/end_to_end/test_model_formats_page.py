"""The code of docs/models.md, run as it stands there on exported models."""

import re
from pathlib import Path

import pytest

from tfbert.cli import main
from tfbert.models.trained_model import load_model
from tfbert.runs.predict import predict_texts

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
FOLDERS = {
    "huggingface": "sst2-bert",
    "savedmodel": "sst2-served/1",
    "onnx": "sst2-onnx",
    "litert": "sst2-litert",
}


@pytest.mark.slow
def test_the_code_of_the_page(trained_run, tmp_path, monkeypatch, capsys):
    for name in ("transformers", "torch", "onnxruntime", "tf2onnx", "ai_edge_litert"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    for format_name, folder in FOLDERS.items():
        words = ["--model", str(trained_run), "--format", format_name, "--output", folder]
        assert main(["export", *words]) == 0
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(block, names)
    classifier = load_model(str(trained_run))
    good, dull = predict_texts(classifier, ["Not bad at all.", "Dull."])
    for answer, served in zip((good, dull), names["answer"]["label"].numpy(), strict=True):
        assert served.decode() == answer["label"]
    (answer,) = names["classify"](["Not bad at all."], truncation=True)
    assert answer["label"] == good["label"]
    assert answer["score"] == pytest.approx(good["probability"], abs=1e-5)
    assert names["logits"].shape == (2, len(classifier.labels))

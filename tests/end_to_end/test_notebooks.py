"""The notebooks: run offline on embedded data, and what must be true of their files."""

import ast
import configparser
import importlib
import json
import re
import subprocess
import zipfile
from pathlib import Path

import nbformat
import papermill
import pytest

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))

SENTIMENT = {
    "TASK": "embedded",
    "MODEL": "embedded",
    "PRECISION": "bfloat16",  # so that no step is left out
    "MAX_LENGTH": 16,
    "TRAIN_EXAMPLES": 128,
    "EPOCHS": 2,
    "BATCH_SIZE": 16,
    "LEARNING_RATE": 1e-4,
    "LAMB_BATCH_SIZE": 32,
}
PRETRAINING = {
    "TEXT": "embedded",
    "VOCABULARY": 600,
    "LENGTH": 16,
    "LAYERS": 2,
    "STAGES": 2,
    "SEQUENCES": 128,
    "TRIAL_SEQUENCES": 64,
    "BATCH_SIZES": [16],
    "LAMB_RATES": [1e-3, 1e-2],
    "ADAMW_RATES": [1e-3],
    "TASK": "embedded",
    "TRAIN_EXAMPLES": 64,
    "PRECISION": "float32",
}


def execute(name, parameters, folder, monkeypatch):
    """Runs a notebook in a folder of its own and returns all that its cells printed."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    done = papermill.execute_notebook(
        REPOSITORY / "notebooks" / name,
        None,
        {**parameters, "RUNS": str(folder), "INTERACTIVE": False},
        cwd=folder,
        progress_bar=False,
    )
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    texts = [output.get("text", "") for output in outputs if output.get("name") == "stdout"]
    texts += [output["data"].get("text/markdown", "") for output in outputs if "data" in output]
    return "\n".join(texts), pictures


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.slow
def test_sentiment(tmp_path, monkeypatch):
    text, pictures = execute("sentiment_transfer_learning.ipynb", SENTIMENT, tmp_path, monkeypatch)
    assert pictures == 7
    number = r"([\d,.]+)"
    columns = rf"{number} \| {number} \| {number} \| (\d+) \| ([\d.]+) \(([\d.]+) to ([\d.]+)\)"
    rows = re.findall(rf"^\| (\S.*?) \| {columns} \|$", text, re.M)
    assert [row[0] for row in rows] == [
        "baseline",
        "+ mixed precision",
        "+ batches by length",
        "+ XLA",
        "+ larger batch, LAMB",
    ]
    assert rows[0][2] == "1.00"
    for _, speed, speed_up, _, seconds, accuracy, low, high in rows:
        assert float(speed.replace(",", "")) > 0
        assert 0 < float(speed_up) < 100
        assert int(seconds) > 0
        assert 0.3 < float(low) < float(accuracy) < float(high) <= 1
    assert "is the fastest here" in text
    for run in ("baseline", "mixed", "length", "xla", "lamb"):
        metrics = metrics_of(tmp_path / run)
        assert (metrics["examples"], metrics["epochs"]) == (400, 2)
        assert 0 < metrics["loss"] < 5
    answers = re.findall(r"^(?:posi|nega)tive +([01]\.\d\d)  ", text, re.M)
    assert len(answers) == 4
    assert all(0.5 <= float(probability) <= 1 for probability in answers)
    temperature, unused = re.findall(
        r"^temperature ([\d.]+), fitted on ([\d,]+) unused", text, re.M
    )[0]
    assert 0.05 <= float(temperature) <= 20
    assert unused == "1,072"  # 1,200 less 128
    errors = re.findall(r"calibration error: ([\d.]+) points before, ([\d.]+) after", text)
    assert all(0 <= float(error) <= 50 for error in errors[0])
    assert (tmp_path / "ladder.png").exists()
    with zipfile.ZipFile(tmp_path / "sentiment.zip") as packed:
        assert "sentiment/config.json" in packed.namelist()


def test_pretraining(tmp_path, monkeypatch):
    text, pictures = execute("pretrain_with_lamb.ipynb", PRETRAINING, tmp_path, monkeypatch)
    assert pictures == 4
    losses = re.findall(
        r"^(\w+) +batch (\d+), rate ([\d.]+): (\d+) updates, held-out loss ([\d.]+)", text, re.M
    )
    assert [loss[:4] for loss in losses] == [
        ("LAMB", "16", "0.001", "4"),
        ("LAMB", "16", "0.01", "4"),
        ("AdamW", "16", "0.001", "4"),
    ]
    assert all(5 < float(loss) < 7.5 for *_, loss in losses)  # ln 600 is 6.4
    (row,) = re.findall(r"^\| 16 \| 4 \| .*([+-][\d.]+) ± ([\d.]+) \|$", text, re.M)
    assert abs(float(row[0])) < 1 and float(row[1]) < 1
    assert "At a batch of 16" in text
    assert re.findall(r"updates, layers: (\d+), frozen: (\d+)", text) == [("1", "0"), ("2", "0")]
    staged = metrics_of(tmp_path / "stack")
    assert staged["updates"] == 8
    assert 5 < staged["val_loss"] < 7.5
    (accuracy,) = re.findall(r"^accuracy ([\d.]+) \(95 % interval", text, re.M)
    assert 0.3 < float(accuracy) <= 1


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_file_is_valid_and_has_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_it_imports_is_there(path):
    cells = nbformat.read(path, as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    trees = [
        ast.parse(re.sub(r"^( *)[%!].*$", r"\1pass", source, flags=re.M)) for source in sources
    ]
    imports = [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tfbert")
    ]
    assert imports
    for node in imports:
        for alias in node.names:
            assert hasattr(importlib.import_module(node.module), alias.name), ast.unparse(node)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_where_there_is_no_tensorflow_it_installs_what_the_requirements_say(path):
    sources = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    pinned = (REPOSITORY / "requirements-jax-no-deps.txt").read_text()
    (line,) = re.findall(r"%pip install --no-deps .*", sources)
    assert set(re.findall(r"[\w-]+==[\d.]+", line)) == set(
        re.findall(r"^[\w-]+==.+$", pinned, re.M)
    )
    of_hub = (REPOSITORY / "requirements-jax.txt").read_text().split("beside TensorFlow.\n")[1]
    (line,) = re.findall(r"lines \+= (\[.*\])", sources)
    assert ast.literal_eval(line) == [*of_hub.splitlines(), "grain", "matplotlib"]


def test_all_name_the_same_repository():
    """The one address: `url` in setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    repository = setup["metadata"]["url"].removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks"
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        assert f"({colab}/{path.name})" in notebook.cells[0].source
        sources = "\n".join(cell.source for cell in notebook.cells)
        assert re.findall(r'^REPOSITORY = "(.+?)"', sources, re.M) == [repository]
    readme = (REPOSITORY / "README.md").read_text()
    assert f"({colab}/sentiment_transfer_learning.ipynb)" in readme


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder with the data"),
        (["/nowhere"], "/nowhere/minilm/model.safetensors: no such file"),
    ],
)
def test_rendering_refuses_in_one_line(arguments, message):
    command = ["bash", str(REPOSITORY / "scripts" / "render_notebooks.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1

"""What the embedded model is worth on the embedded sentences, beside TF-IDF, over five seeds.

    python scripts/benchmarks/embedded.py [--minilm FOLDER] [--output FILE] [--results FOLDER]

First the rate is chosen on parts of the training half; then the model is measured once on the test
half, with the weights of the last epoch, so that nothing is chosen there. `--minilm` measures the
model that it was made of, too. What is in the results folder is not measured again.
"""

import json
import platform
import statistics
import tempfile
from pathlib import Path

from shared.cells import Cells
from shared.intervals import half_width
from shared.machine import hardware, tfbert
from shared.page import DOCS, make_parser, reached, table, write_page
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tfbert.embedded import MODEL_DIRECTORY, SENTIMENT_DIRECTORY
from tfbert.tasks.labelled_data import LabelledData

RATES = (5e-5, 1e-4, 2e-4)
PARTS = (0, 1, 2)  # seeds of what is held out of the training half
HELD_OUT = 1 / 3
SEEDS = (1, 2, 3, 4, 5)
TO_REACH = 0.84
HEADER = """# The embedded model

`--model embedded` ({layers} layers, {width} wide; `tfbert/embedded/model/README.md` says how it was
made) fine-tuned on the 1,200 embedded training sentences, measured on the 400 test sentences with
the weights of the last epoch. Written by `python scripts/benchmarks/embedded.py`.
"""


def main():
    parser = make_parser(__doc__, "benchmark_embedded.md")
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--results", type=Path, default=DOCS / "benchmark_embedded")
    options = parser.parse_args()
    cells = Cells(options.results)
    cells.measure("machine", lambda: {"machine": hardware()})
    for rate in RATES:
        for part in PARTS:
            cells.measure(f"choice-{rate:g}-{part}", on_part, rate, part)
    rate = best_rate(cells)
    models = {"embedded": "embedded"} | ({"minilm": options.minilm} if options.minilm else {})
    for name, model in models.items():
        for seed in SEEDS:
            cells.measure(f"{name}-{seed}", on_test_half, model, rate, seed)
    write_page(options.output, report(cells))


def finetune(*words):
    """The metrics of a run on embedded sentences."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        tfbert("finetune", *words, "--output", run, "--keep-epoch", "last", "--no-progress")
        metrics = json.loads((run / "metrics.json").read_text())
    return {name: metrics[name] for name in ("accuracy", "loss", "epochs", "seconds")}


def on_part(rate, part):
    """Of the embedded model, on a third of the training half that it was not trained on."""
    return finetune(
        *("--task", "tsv", "--data", SENTIMENT_DIRECTORY / "train.tsv", "--model", "embedded"),
        *("--text-column", "sentence", "--max-length", 64),
        *("--eval-fraction", HELD_OUT, "--split-seed", part),
        *("--epochs", 4, "--learning-rate", rate, "--seed", part),
    )


def on_test_half(model, rate, seed):
    """Of a model, at the task's defaults but for the rate."""
    words = ("--task", "embedded", "--model", model, "--learning-rate", rate, "--seed", seed)
    return finetune(*words)


def accuracies(cells, pattern):
    paths = sorted(cells.folder.glob(pattern))
    return [json.loads(path.read_text())["accuracy"] for path in paths]


def best_rate(cells):
    return max(RATES, key=lambda rate: statistics.mean(accuracies(cells, f"choice-{rate:g}-*")))


def tf_idf():
    """Accuracy of logistic regression on word counts."""
    train, test = LabelledData("embedded").splits()
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(train.texts, train.labels)
    return model.score(test.texts, test.labels)


def report(cells):
    """The page, as Markdown."""
    config = json.loads((MODEL_DIRECTORY / "config.json").read_text())["config"]
    found = {name: accuracies(cells, f"{name}-[0-9]*") for name in ("embedded", "minilm")}
    rows = [
        [title, len(values), f"{statistics.mean(values):.3f} ± {half_width(values):.3f}"]
        for title, values in (("embedded", found["embedded"]), ("MiniLM, whole", found["minilm"]))
        if values
    ]
    rows.append(["TF-IDF with logistic regression", "-", f"{tf_idf():.3f}"])
    single = ", ".join(f"{value:.4f}" for value in found["embedded"])
    mean = statistics.mean(found["embedded"])
    choices = [
        [f"{rate:g}", *(f"{value:.4f}" for value in values), f"{statistics.mean(values):.4f}"]
        for rate in RATES
        if (values := accuracies(cells, f"choice-{rate:g}-*"))
    ]
    machine = json.loads((cells.folder / "machine.json").read_text())["machine"]
    lines = [
        HEADER.format(layers=config["num_layers"], width=config["hidden_dim"]),
        *table(["model", "seeds", "accuracy, mean and 95 % interval of the seeds"], rows),
        "",
        f"Seeds {', '.join(map(str, SEEDS))}: {single}. A mean of {TO_REACH} was to be reached: "
        f"{reached(mean >= TO_REACH)}. With 400 sentences, an accuracy has an interval of its own "
        "of about ± 0.03.",
        "",
        "## The choice of the rate",
        "",
        f"Accuracy on a third of the training half, drawn {len(PARTS)} times. "
        f"{best_rate(cells):g} was taken.",
        "",
        *table(["rate", *(f"part {part}" for part in PARTS), "mean"], choices),
        "",
        f"Machine: {machine}, Python {platform.python_version()}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

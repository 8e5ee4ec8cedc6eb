"""Accuracy and time of `tfbert finetune` on SST-2 with MiniLM, over seeds fixed beforehand.

    python scripts/benchmarks/finetune.py DATA [--output FILE] [--results FOLDER]

DATA holds glue/SST-2/ and minilm/. A seed whose numbers are in the results folder is not run again,
so that a benchmark that was stopped goes on where it was.
"""

import json
import platform
import statistics
import tempfile
from pathlib import Path

from shared.cells import Cells
from shared.machine import cores, tfbert
from shared.page import make_parser, table, write_page

SEEDS = (1, 2, 3)
ACCURACY_TO_REACH = 0.885
MINUTES_TO_REACH = 12.0
HEADER = """# Fine-tuning SST-2

MiniLM (`all-MiniLM-L6-v2`, 6 layers, 384 wide), one epoch of the 67,349 training sentences at the
defaults of `tfbert finetune`, measured on the 872 sentences of `dev.tsv`. Written by
`python scripts/benchmarks/finetune.py DATA`; the minutes are those of the whole command.
"""


def main():
    parser = make_parser(__doc__, "benchmark_finetune.md")
    parser.add_argument("data", type=Path, help="folder with glue/SST-2 and minilm")
    parser.add_argument("--results", type=Path, default=Path("runs/benchmark_finetune"))
    options = parser.parse_args()
    cells = Cells(options.results)
    results = {seed: cells.measure(str(seed), run_seed, options.data, seed) for seed in SEEDS}
    write_page(options.output, report(results))


def run_seed(data, seed):
    """One run of the command: its metrics and the seconds it took."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        words = ["--task", "sst2", "--data", data / "glue" / "SST-2", "--model", data / "minilm"]
        tfbert("finetune", *words, "--output", run, "--seed", seed)
        return json.loads((run / "metrics.json").read_text())


def report(results):
    """The page, as Markdown."""
    accuracies = [row["accuracy"] for row in results.values()]
    minutes = [row["seconds"] / 60 for row in results.values()]
    rows = [
        [seed, *(f"{row[name]:.4f}" for name in ("accuracy", "macro_f1", "loss")), f"{time:.1f}"]
        for (seed, row), time in zip(results.items(), minutes, strict=True)
    ]
    mean, spread = statistics.mean(accuracies), statistics.stdev(accuracies)
    whole = f"{mean:.4f} (standard deviation {spread:.4f})"
    rows.append(["mean", whole, "", "", f"{statistics.mean(minutes):.1f}"])
    lines = [HEADER, *table(["seed", "accuracy", "macro F1", "loss", "minutes"], rows), ""]
    lines.append(
        f"To reach: a mean accuracy of {ACCURACY_TO_REACH}, each run in under "
        f"{MINUTES_TO_REACH:g} minutes on 2 cores with AVX512-BF16. "
        f"Machine: {cores()}, Python {platform.python_version()}."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""How long texts are read (`--long-texts`): accuracy and time on movie_reviews, over seeds.

    python scripts/benchmarks/long_texts.py DATA [--model MODEL] [--max-length N] [--output FILE]
        [--results FOLDER]

DATA holds movie_reviews.zip and minilm/. A run whose numbers are in the results folder is not made
again, so that a benchmark that was stopped goes on where it was.
"""

import json
import platform
import statistics
import tempfile
from pathlib import Path

from shared.cells import Cells
from shared.machine import cores, tfbert
from shared.page import make_parser, positive, table, write_page

SEEDS = (1, 2, 3)
WAYS = ("cut", "head-tail", "windows")
HEADER = """# Long texts

The 2,000 reviews of movie_reviews, of which 200 are held out, at the task's defaults but for the
length: {tokens} tokens, where a review has 849 on average. Parts of `windows` begin {stride} tokens
after one another. Model: {model}. Written by `python scripts/benchmarks/long_texts.py DATA`; the
minutes are those of the whole command.
"""


def main():
    parser = make_parser(__doc__, "benchmark_long_texts.md")
    parser.add_argument("data", type=Path, help="folder with movie_reviews.zip and minilm")
    parser.add_argument("--model", help="where to start; by default DATA/minilm")
    parser.add_argument("--max-length", type=positive, default=256)
    parser.add_argument("--results", type=Path, default=Path("runs/benchmark_long_texts"))
    options = parser.parse_args()
    options.model = options.model or str(options.data / "minilm")
    cells = Cells(options.results)
    results = {
        way: [cells.measure(f"{way}-{seed}", run, way, seed, options) for seed in SEEDS]
        for way in WAYS
    }
    write_page(options.output, report(results, options))


def stride(max_length):
    """Half a part, so that every token is read in the middle of one."""
    return max_length // 2


def run(way, seed, options):
    """One run of the command: its metrics and the seconds it took."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        words = ["--task", "movie_reviews", "--data", options.data / "movie_reviews.zip"]
        words += ["--model", options.model, "--max-length", options.max_length]
        words += ["--long-texts", way, "--doc-stride", stride(options.max_length)]
        tfbert("finetune", *words, "--output", run, "--seed", seed)
        return json.loads((run / "metrics.json").read_text())


def report(results, options):
    """The page, as Markdown."""
    rows = []
    for way, runs in results.items():
        accuracies = [100 * metrics["accuracy"] for metrics in runs]
        spread = f"± {statistics.stdev(accuracies):.1f}"
        minutes = statistics.mean(metrics["seconds"] / 60 for metrics in runs)
        single = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        mean = statistics.mean(accuracies)
        rows.append([f"`{way}`", f"{mean:.1f} {spread}", single, f"{minutes:.1f}"])
    header = HEADER.format(
        tokens=options.max_length,
        stride=stride(options.max_length),
        model=Path(options.model).name,
    )
    columns = ["`--long-texts`", "accuracy, %", f"seeds {', '.join(map(str, SEEDS))}", "minutes"]
    machine = f"Machine: {cores()}, Python {platform.python_version()}."
    return "\n".join([header, *table(columns, rows), "", machine]) + "\n"


if __name__ == "__main__":
    main()

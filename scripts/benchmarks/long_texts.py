"""How long texts are read (`--long-texts`): accuracy and time on movie_reviews, over seeds.

    python scripts/benchmarks/long_texts.py DATA [--model MODEL] [--max-length N] [--epochs N]
        [--train-examples N] [--seeds N ...] [--output FILE] [--results FOLDER]

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

WAYS = ("cut", "head-tail", "windows")
HEADER = """# Long texts

movie_reviews: {examples} of its 2,000 reviews to train on for {epochs} epochs, 200 to measure on,
{tokens} tokens, where a review has 849 on average. Parts of `windows` begin {stride} tokens after
one another, and each is a row of its own, so that an epoch has many more updates. Model:
{model}; the rest are the task's defaults. The accuracy of 200 reviews is
uncertain by some 5 points. Written by `python scripts/benchmarks/long_texts.py {arguments}`;
the minutes are those of the whole command.
"""


def main():
    parser = make_parser(__doc__, "benchmark_long_texts.md")
    parser.add_argument("data", type=Path, help="folder with movie_reviews.zip and minilm")
    parser.add_argument("--model", help="where to start; by default DATA/minilm")
    parser.add_argument("--max-length", type=positive, default=256)
    parser.add_argument("--epochs", type=positive, default=4)
    parser.add_argument("--train-examples", type=positive, default=1800)
    parser.add_argument("--seeds", type=positive, nargs="+", default=[1, 2, 3])
    parser.add_argument("--results", type=Path, default=Path("runs/benchmark_long_texts"))
    options = parser.parse_args()
    options.model = options.model or str(options.data / "minilm")
    cells = Cells(options.results)
    results = {
        way: [cells.measure(f"{way}-{seed}", run, way, seed, options) for seed in options.seeds]
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
        words += ["--epochs", options.epochs, "--train-examples", options.train_examples]
        tfbert("finetune", *words, "--output", run, "--seed", seed)
        return json.loads((run / "metrics.json").read_text())


def report(results, options):
    """The page, as Markdown."""
    rows = []
    for way, runs in results.items():
        accuracies = [100 * metrics["accuracy"] for metrics in runs]
        spread = f" ± {statistics.stdev(accuracies):.1f}" if len(runs) > 1 else ""
        minutes = statistics.mean(metrics["seconds"] / 60 for metrics in runs)
        single = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        mean = statistics.mean(accuracies)
        rows.append([f"`{way}`", f"{mean:.1f}{spread}", single, f"{minutes:.1f}"])
    given = ("max_length", "epochs", "train_examples")
    arguments = [f"--model {options.model.replace(str(options.data), 'DATA')}"]
    arguments += [f"--{name.replace('_', '-')} {getattr(options, name)}" for name in given]
    header = HEADER.format(
        arguments=" ".join(["DATA", *arguments, "--seeds", *map(str, options.seeds)]),
        examples=options.train_examples,
        epochs=options.epochs,
        tokens=options.max_length,
        stride=stride(options.max_length),
        model=Path(options.model).name,
    )
    columns = [
        "`--long-texts`",
        "accuracy, %",
        f"seeds {', '.join(map(str, options.seeds))}",
        "minutes",
    ]
    machine = f"Machine: {cores()}, Python {platform.python_version()}."
    return "\n".join([header, *table(columns, rows), "", machine]) + "\n"


if __name__ == "__main__":
    main()

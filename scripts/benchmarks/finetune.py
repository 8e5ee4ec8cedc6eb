"""Accuracy and time of `tfbert finetune` on SST-2 with MiniLM, over seeds fixed beforehand.

usage: python scripts/benchmarks/finetune.py DATA [--results FILE] [--table FILE]

DATA holds glue/SST-2/ and minilm/. A seed whose numbers are in the results file already is not run
again, so that an interrupted benchmark goes on where it was.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tfbert.io.whole import replacing

SEEDS = (1, 2, 3)
ACCURACY_TO_REACH = 0.885
MINUTES_TO_REACH = 12.0
HEADER = """# Fine-tuning SST-2

MiniLM (`all-MiniLM-L6-v2`, 6 layers, 384 wide), one epoch of the 67,349 training sentences at the
defaults of `tfbert finetune`, measured on the 872 sentences of `dev.tsv`. Written by
`python scripts/benchmarks/finetune.py DATA`; the minutes are those of the whole command.
"""


def run_seed(data, seed):
    """One run of the command: its metrics and the seconds it took."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        command = [sys.executable, "-m", "tfbert", "finetune", "--task", "sst2"]
        command += ["--data", str(data / "glue" / "SST-2"), "--model", str(data / "minilm")]
        command += ["--output", str(run), "--seed", str(seed)]
        subprocess.run(command, check=True)
        return json.loads((run / "metrics.json").read_text())


def table(results):
    """The results as Markdown."""
    accuracies = [row["accuracy"] for row in results.values()]
    minutes = [row["seconds"] / 60 for row in results.values()]
    lines = [HEADER, "| seed | accuracy | macro F1 | loss | minutes |", "|---|---|---|---|---|"]
    for (seed, row), time in zip(results.items(), minutes, strict=True):
        lines.append(
            f"| {seed} | {row['accuracy']:.4f} | {row['macro_f1']:.4f} | {row['loss']:.4f} "
            f"| {time:.1f} |"
        )
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    lines += [
        f"| mean | {statistics.mean(accuracies):.4f} (standard deviation {spread:.4f}) | | "
        f"| {statistics.mean(minutes):.1f} |",
        "",
        f"To reach: a mean accuracy of {ACCURACY_TO_REACH}, each run in under "
        f"{MINUTES_TO_REACH:g} minutes on 2 cores with AVX512-BF16. "
        f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}.",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with glue/SST-2 and minilm")
    parser.add_argument("--results", type=Path, default=Path("runs/benchmark_finetune.json"))
    parser.add_argument("--table", type=Path, default=Path("docs/benchmark_finetune.md"))
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    for seed in SEEDS:
        if str(seed) not in results:
            results[str(seed)] = run_seed(options.data, seed)
            options.results.parent.mkdir(parents=True, exist_ok=True)
            with replacing(options.results) as temporary:
                temporary.write_text(json.dumps(results, indent=2) + "\n")
    with replacing(options.table) as temporary:
        temporary.write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()

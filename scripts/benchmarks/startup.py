"""How long `tfbert finetune` takes to its first update, and `tfbert predict` to its one answer.

    python scripts/benchmarks/startup.py DATA [--rounds 3] [--output FILE]

DATA holds glue/SST-2/ and minilm/. Each time is the median of processes that start anew; the system
has read all files before. A fine-tuning finds its tokens in a cache.
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shared.machine import cores
from shared.page import make_parser, reached, table, write_page

SHARE_TO_REACH = 1.3  # of what importing TensorFlow and Keras takes, until the first update begins
PREDICT_TO_REACH = 8.0
HEADER = """# Starting

Seconds from the start of a process, medians of {rounds}, on {machine}, Python {python}. Written by
`python scripts/benchmarks/startup.py DATA`. SST-2 with MiniLM at the defaults of `tfbert finetune`,
its 67,349 sentences out of the token cache.
"""
IMPORT = "import tensorflow, keras"
# Prints when the first update begins and when it has ended, and ends the process.
FINETUNE = """
import json, os, sys, time
began, first = float(sys.argv.pop(1)), []
from tfbert.cli import main
from tfbert.runs.outputs.callbacks import StatusUpdates
def begin(self, batch, logs=None):
    first.append(time.time() - began)
def end(self, batch, logs=None):
    print(json.dumps([*first, time.time() - began]), flush=True)
    os._exit(0)
StatusUpdates.on_train_batch_begin, StatusUpdates.on_train_batch_end = begin, end
raise SystemExit(main(sys.argv[1:]))
"""


def main():
    parser = make_parser(__doc__, "benchmark_startup.md", rounds=3)
    parser.add_argument("data", type=Path, help="folder with glue/SST-2 and minilm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_page(options.output, report(measure(options.data, Path(folder), options.rounds)))


def measure(data, folder, rounds):
    """By name, a list of seconds."""
    words = ["finetune", "--task", "sst2", "--data", data / "glue" / "SST-2", "--model"]
    words += [data / "minilm", "--token-cache", folder / "cache", "--no-progress", "--output"]
    run("-m", "tfbert", *words, folder / "trained", "--train-examples", 64)
    (folder / "text.txt").write_text("A lovely film.\n")
    predict = ["predict", "--model", folder / "trained", "--input", folder / "text.txt"]
    seconds = {"import": [], "begins": [], "ends": [], "predict": []}
    for number in range(rounds + 1):  # the first one fills the cache
        found = {
            "import": timed("-c", IMPORT),
            "predict": timed("-m", "tfbert", *predict),
        }
        lines = run("-c", FINETUNE, time.time(), *words, folder / f"run-{number}")
        found["begins"], found["ends"] = json.loads(lines.splitlines()[-1])
        for name in seconds:
            seconds[name] += [found[name]] * (number > 0)
    return seconds


def timed(*command):
    """Seconds of a process."""
    began = time.perf_counter()
    run(*command)
    return time.perf_counter() - began


def run(*command):
    """The standard output of a Python process."""
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def report(seconds):
    """The page, as Markdown."""
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    share = middle["begins"] / middle["import"]
    told = f"{share:.2f} times the import; {SHARE_TO_REACH} asked: "
    told += reached(share <= SHARE_TO_REACH)
    rows = [
        ["importing TensorFlow and Keras", middle["import"], ""],
        ["`finetune`, to its first update", middle["begins"], told],
        ["`finetune`, to the end of it: tracing", middle["ends"], ""],
        [
            "`predict` of one line",
            middle["predict"],
            f"{PREDICT_TO_REACH:g} asked: {reached(middle['predict'] < PREDICT_TO_REACH)}",
        ],
    ]
    rows = [[name, f"{value:.1f}", remark] for name, value, remark in rows]
    header = HEADER.format(
        rounds=len(seconds["import"]), machine=cores(), python=platform.python_version()
    )
    return "\n".join([header, *table(["", "seconds", ""], rows)]) + "\n"


if __name__ == "__main__":
    main()

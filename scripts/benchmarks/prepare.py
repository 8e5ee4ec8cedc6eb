"""Speed and memory of `tfbert prepare`, and speed of reading its records, on IMDB reviews.

    python scripts/benchmarks/prepare.py DATA [--output FILE] [--results FOLDER]

DATA holds imdb/unsup.txt.gz and bert-base-uncased-vocab.txt. A part whose numbers are in the
results folder is not run again, so that a benchmark that was stopped goes on where it was.
Google's own script is installed from the package index for its part, into a temporary folder.
"""

import argparse
import gzip
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shared.cells import Cells
from shared.machine import answer_of, bytes_of, cores
from shared.page import make_parser, table, write_page

LENGTH = 128
WORKERS = 2
ROUNDS = 3
GOOGLE_MEGABYTES = 6
COPIES = 10
BATCH = 32
TIMES_FASTER_TO_REACH = 12
TIMES_TRAINING_TO_REACH = 5
MEMORY_TO_STAY_UNDER = 1.5e9
HEADER = """# From text to training records: speed and memory

IMDB reviews (50,000 documents, 66 MB), sequences of 128 tokens, next-sentence pairs, one copy of
the text, fixed masks on both sides, 2 worker processes. Written by
`python scripts/benchmarks/prepare.py DATA`. The time of `tfbert prepare` is that of the whole
command, start and end included. The other side is Google's own `create_pretraining_data.py` for
TensorFlow 2 (from the package `{google}`): one process, without whole words and
compression; its imports, and the splitting of its text into sentences, are left out of its time.
Memory is that of all processes together (proportional set size), sampled every 50 ms.
"""
# The package's own requirements (70 of them) are not what this script imports.
GOOGLE = ("tf-models-official==2.20.0", "tf-keras==2.20.1")
GOOGLE_PROGRAM = """
import json, sys, time
from absl import flags, logging
from official.nlp.data import create_pretraining_data
flags.FLAGS(sys.argv)
logging.set_verbosity(logging.ERROR)
begin = time.perf_counter()
create_pretraining_data.main(sys.argv[:1])
print(json.dumps(time.perf_counter() - begin))
"""


def main():
    parser = make_parser(__doc__, "benchmark_prepare.md")
    parser.add_argument("data", type=Path, help="folder with imdb/ and the vocabulary")
    parser.add_argument("--results", type=Path, default=Path("runs/benchmark_prepare"))
    parser.add_argument("--feed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.feed:
        return feed(options.data)
    cells = Cells(options.results)
    results = {}
    for name, run in PARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            results[name] = cells.measure(name, run, options.data, Path(folder))
    write_page(options.output, report(results))


def prepare(data, output, *options, feed=None):
    """Runs the command: seconds and the peak of memory."""
    command = [sys.executable, "-m", "tfbert", "prepare", "--vocab", str(vocabulary(data))]
    command += ["--output", str(output), "--workers", str(WORKERS), "--no-progress", *options]
    source = str(reviews(data)) if feed is None else "-"
    begin, peak = time.perf_counter(), 0
    with subprocess.Popen(
        [*command, "--input", source],
        stdin=None if feed is None else feed.stdout,
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            peak = max(peak, bytes_of(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(process.returncode)
    seconds = time.perf_counter() - begin
    size = json.loads((output / "dataset.json").read_text())["input"]["bytes"]
    return {"bytes": size, "seconds": seconds, "peak_bytes": peak}


def reviews(data):
    return data / "imdb" / "unsup.txt.gz"


def vocabulary(data):
    return data / "bert-base-uncased-vocab.txt"


def run_google(data, folder):
    """Google's script on the first megabytes of the reviews, several times."""
    packages = folder / "packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, str(packages), *GOOGLE], check=True)
    text, size = folder / "sentences.txt", 0
    with gzip.open(reviews(data), "rt", encoding="utf-8") as lines, text.open("w") as file:
        for line in lines:
            size += len(line.encode())
            sentences = re.split(r"(?<=[.!?])\s+", line.strip().replace("<br />", " "))
            file.write("\n".join(sentences) + "\n\n")
            if size >= GOOGLE_MEGABYTES * 1e6:
                break
    words = [f"--input_file={text}", f"--output_file={folder / 'google.tfrecord'}"]
    words += [f"--vocab_file={vocabulary(data)}", f"--max_seq_length={LENGTH}"]
    words += ["--max_predictions_per_seq=20", "--dupe_factor=1", "--random_seed=0"]
    variables = {"PYTHONPATH": str(packages), "TF_CPP_MIN_LOG_LEVEL": "3"}
    seconds = [answer_of("-c", GOOGLE_PROGRAM, *words, **variables) for _ in range(ROUNDS)]
    return {"bytes": size, "seconds": statistics.median(seconds)}


def run_prepare(data, folder):
    """The whole of the reviews, several times."""
    runs = [
        prepare(data, folder / f"fixed{i}", "--masking", "fixed", "--lengths", str(LENGTH))
        for i in range(ROUNDS)
    ]
    seconds = [run["seconds"] for run in runs]
    return {
        "bytes": runs[0]["bytes"],
        "seconds": statistics.median(seconds),
        "slowest": max(seconds),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
    }


def run_ten_times(data, folder):
    """Ten times the text, each copy with other words, through standard input."""
    command = [sys.executable, __file__, str(data), "--feed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as feed:
        return prepare(data, folder / "ten", "--masking", "fixed", feed=feed)


def feed(data):
    """Writes the reviews ten times to standard output; each copy has one word spelled otherwise."""
    for copy in range(COPIES):
        with gzip.open(reviews(data), "rb") as file:
            while block := file.readlines(1 << 22):
                spelling = f" the{copy or ''} ".encode()
                sys.stdout.buffer.write(b"".join(block).replace(b" the ", spelling))


def run_reading(data, folder):
    """Sequences a second that one process reads, shuffles and masks."""
    from tfbert.records.reader import PretrainingRecords
    from tfbert.records.record_source import open_records

    prepare(data, folder / "dynamic")
    source = open_records(folder / "dynamic")
    records = PretrainingRecords(source, BATCH)
    batches_per_epoch = -(-records.examples // BATCH)
    steps = min(2000, batches_per_epoch)
    begin = time.perf_counter()
    for step in range(steps):
        records.batch(step)
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    PretrainingRecords(source, BATCH).batch(batches_per_epoch // 2)
    first_batch = time.perf_counter() - begin
    return {"sequences_a_second": steps * BATCH / seconds, "first_batch_seconds": first_batch}


def run_training(data, folder):
    """Sequences a second that a model of 4 layers, 512 wide, trains on: stock Keras, bfloat16."""
    import keras
    import pretraining

    from tfbert.models.sizes import SIZES

    keras.config.set_dtype_policy("mixed_bfloat16")
    form = pretraining.stock(SIZES["small"], pretraining.random_batch())
    form(2)
    return {"sequences_a_second": pretraining.BATCH / form(8)}


PARTS = {
    "google": run_google,
    "prepare": run_prepare,
    "ten times": run_ten_times,
    "reading": run_reading,
    "training": run_training,
}


def report(results):
    """The page, as Markdown."""

    def rate(part):
        return part["bytes"] / part["seconds"] / 1e6

    def row(name, part):
        memory = f"{part['peak_bytes'] / 1e6:.0f} MB" if "peak_bytes" in part else ""
        size = f"{part['bytes'] / 1e6:.1f} MB"
        return [name, size, f"{part['seconds']:.1f} s", f"{rate(part):.2f}", memory]

    google, ours, ten = results["google"], results["prepare"], results["ten times"]
    reading, training = results["reading"], results["training"]
    faster = rate(ours) / rate(google)
    ratio = reading["sequences_a_second"] / training["sequences_a_second"]
    memory = max(ours["peak_bytes"], ten["peak_bytes"])
    speeds = [
        row(f"Google's script, one process (median of {ROUNDS})", google),
        row(f"`tfbert prepare` (median of {ROUNDS})", ours),
        row("`tfbert prepare`, ten times the text", ten),
    ]
    ours_reading = "`PretrainingRecords`, one process, dynamic whole-word masks, batches of"
    stock_training = f"training 4 layers x 512, batch {16}, bfloat16, stock Keras"
    sequences = [
        [f"{ours_reading} {BATCH}", f"{reading['sequences_a_second']:,.0f}"],
        [stock_training, f"{training['sequences_a_second']:.1f}"],
    ]
    lines = [
        HEADER.format(google=GOOGLE[0]),
        *table(["", "text", "time", "MB/s", "peak memory"], speeds),
        "",
        f"Times faster than Google's: **{faster:.1f}** (to reach: {TIMES_FASTER_TO_REACH}). "
        f"Most memory: **{memory / 1e6:.0f} MB** (to stay under: "
        f"{MEMORY_TO_STAY_UNDER / 1e6:.0f} MB).",
        "",
        *table(["reading back", "sequences/s"], sequences),
        "",
        f"Times what training takes: **{ratio:.0f}** (to reach: {TIMES_TRAINING_TO_REACH}). "
        f"The first batch in the middle of an epoch: {reading['first_batch_seconds']:.2f} s.",
        "",
        f"Machine: {cores()}, Python {platform.python_version()}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

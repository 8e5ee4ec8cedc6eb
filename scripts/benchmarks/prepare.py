"""Speed and memory of `tfbert prepare`, and speed of reading its records, on IMDB reviews.

usage: python scripts/benchmarks/prepare.py DATA [--results FILE] [--table FILE]

DATA holds imdb/unsup.txt.gz and bert-base-uncased-vocab.txt. A part whose numbers are in the
results file already is not run again, so that an interrupted benchmark goes on where it was.
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tfbert.io.whole import write_bytes, write_json

HERE = Path(__file__).parent
LENGTH = 128
WORKERS = 2
ROUNDS = 3
PLAIN_MEGABYTES = 6
COPIES = 10
BATCH = 32
TRAINING_BATCH = 16
TIMES_FASTER_TO_REACH = 12
TIMES_TRAINING_TO_REACH = 5
MEMORY_TO_STAY_UNDER = 1.5e9
HEADER = """# From text to training records: speed and memory

IMDB reviews (50,000 documents, 66 MB), sequences of 128 tokens, next-sentence pairs, one copy of
the text, fixed masks on both sides, 2 worker processes. Written by
`python scripts/benchmarks/prepare.py DATA`. The time of `tfbert prepare` is that of the whole
command, start and end included; that of the plain side (`plain_prepare.py`: BERT's published method
in one process, without whole words and compression) leaves its imports out. Memory is that of all
processes together (proportional set size), sampled every 50 ms.
"""


def memory_of(pid):
    """Bytes that a process and its descendants hold, shared pages divided among them."""
    total, pids = 0, [str(pid)]
    while pids:
        pid = pids.pop()
        try:
            pids += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended meanwhile
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


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
            peak = max(peak, memory_of(process.pid))
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


def run_plain(data, folder):
    """BERT's published method in plain Python, several times."""
    script = HERE / "plain_prepare.py"
    command = [sys.executable, str(script), str(reviews(data)), str(vocabulary(data))]
    command += [str(folder / "plain.tfrecord"), str(PLAIN_MEGABYTES)]
    runs = []
    for _ in range(ROUNDS):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
    return sorted(runs, key=lambda run: run["seconds"])[ROUNDS // 2]


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
    import keras_hub
    import numpy as np

    keras.config.set_dtype_policy("mixed_bfloat16")
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=30_522,
        num_layers=4,
        num_heads=8,
        hidden_dim=512,
        intermediate_dim=2048,
        max_sequence_length=LENGTH,
    )
    model = keras_hub.models.BertMaskedLM(backbone)
    # The next-sentence head is left out, so the pooler gets no gradient.
    model.compile(
        optimizer=keras.optimizers.Lamb(1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    generator = np.random.default_rng(0)
    inputs = {
        "token_ids": generator.integers(1000, 30_000, (TRAINING_BATCH, LENGTH)),
        "segment_ids": np.zeros((TRAINING_BATCH, LENGTH), int),
        "padding_mask": np.ones((TRAINING_BATCH, LENGTH), int),
        "mask_positions": np.sort(generator.integers(1, LENGTH, (TRAINING_BATCH, 20)), axis=1),
    }
    labels = generator.integers(1000, 30_000, (TRAINING_BATCH, 20))
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        model.train_on_batch(inputs, labels)
        times.append(time.perf_counter() - begin)
    return {"sequences_a_second": TRAINING_BATCH / statistics.median(times[2:])}


PARTS = {
    "plain": run_plain,
    "prepare": run_prepare,
    "ten times": run_ten_times,
    "reading": run_reading,
    "training": run_training,
}


def table(results):
    """The results as Markdown."""

    def rate(part):
        return part["bytes"] / part["seconds"] / 1e6

    plain, ours, ten = results["plain"], results["prepare"], results["ten times"]
    reading, training = results["reading"], results["training"]
    faster = rate(ours) / rate(plain)
    ratio = reading["sequences_a_second"] / training["sequences_a_second"]
    memory = max(ours["peak_bytes"], ten["peak_bytes"])
    lines = [
        HEADER,
        "| | text | time | MB/s | peak memory |",
        "|---|---|---|---|---|",
        f"| plain Python, one process (median of {ROUNDS}) | {plain['bytes'] / 1e6:.1f} MB "
        f"| {plain['seconds']:.1f} s | {rate(plain):.2f} | |",
        f"| `tfbert prepare` (median of {ROUNDS}) | {ours['bytes'] / 1e6:.1f} MB "
        f"| {ours['seconds']:.1f} s | {rate(ours):.2f} | {ours['peak_bytes'] / 1e6:.0f} MB |",
        f"| `tfbert prepare`, ten times the text | {ten['bytes'] / 1e6:.1f} MB "
        f"| {ten['seconds']:.1f} s | {rate(ten):.2f} | {ten['peak_bytes'] / 1e6:.0f} MB |",
        "",
        f"Times faster than plain: **{faster:.1f}** (to reach: {TIMES_FASTER_TO_REACH}). "
        f"Most memory: **{memory / 1e6:.0f} MB** (to stay under: "
        f"{MEMORY_TO_STAY_UNDER / 1e6:.0f} MB).",
        "",
        "| reading back | sequences/s |",
        "|---|---|",
        f"| `PretrainingRecords`, one process, dynamic whole-word masks, batches of {BATCH} "
        f"| {reading['sequences_a_second']:,.0f} |",
        f"| training 4 layers x 512, batch {TRAINING_BATCH}, bfloat16, stock Keras "
        f"| {training['sequences_a_second']:.1f} |",
        "",
        f"Times what training takes: **{ratio:.0f}** (to reach: {TIMES_TRAINING_TO_REACH}). "
        f"The first batch in the middle of an epoch: {reading['first_batch_seconds']:.2f} s.",
        "",
        f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}.",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with imdb/ and the vocabulary")
    parser.add_argument("--results", type=Path, default=Path("runs/benchmark_prepare.json"))
    parser.add_argument("--table", type=Path, default=Path("docs/benchmark_prepare.md"))
    parser.add_argument("--feed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.feed:
        return feed(options.data)
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.table.parent.mkdir(parents=True, exist_ok=True)
    for name, run in PARTS.items():
        if name not in results:
            with tempfile.TemporaryDirectory() as folder:
                results[name] = run(options.data, Path(folder))
            write_json(options.results, results)
            print(f"{name}: {json.dumps(results[name])}", file=sys.stderr)
    text = table(results)
    write_bytes(options.table, text.encode())
    print(text)


if __name__ == "__main__":
    main()

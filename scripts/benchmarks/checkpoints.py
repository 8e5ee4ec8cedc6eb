"""What checkpoints of BERT-Base with LAMB cost, on a CPU; writes docs/benchmark_checkpoints.md.

    python scripts/benchmarks/checkpoints.py [--output FILE] [--checkpoints N] [--tiny]

Each number is of a process of its own; about 5 minutes, 8 GB of memory and 6 GB of disk.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from shared.machine import cores
from shared.page import make_parser, table, write_page

BATCH, LENGTH, EVERY = 8, 128, 100


def main():
    parser = make_parser(__doc__, "benchmark_checkpoints.md", "two layers of 64")
    parser.add_argument("--checkpoints", type=int, default=4, help="checkpoints to measure")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "REPORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(*arguments.child, arguments.checkpoints, arguments.tiny)
    with tempfile.TemporaryDirectory() as folder:
        fresh = start(folder, arguments)
        resumed = start(folder, arguments, stops=True)
    write_page(arguments.output, report(fresh, resumed))


def start(folder, arguments, stops=False):
    """Runs a child; returns what it reports, with the seconds until its first update ended.

    Args:
        folder: Where the checkpoints are; with some in it, the child resumes.
        arguments: The command line's.
        stops: Send SIGTERM after the first update, and measure the seconds until it has ended.
    """
    path = pathlib.Path(folder, "report.json")
    path.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--child", f"{folder}/checkpoints", str(path)]
    command += ["--checkpoints", str(0 if stops else arguments.checkpoints)]
    command += ["--tiny"] * arguments.tiny
    began = time.time()
    process = subprocess.Popen(command)
    ended = None
    if stops:
        while not path.exists():
            time.sleep(0.05)
        time.sleep(0.5)  # into the next update
        told = time.time()
        process.send_signal(signal.SIGTERM)
        process.wait()
        ended = time.time() - told
    process.wait()
    content = json.loads(path.read_text())
    return {**content, "start": content["first"] - began, "end": ended}


def child(folder, path, checkpoints, tiny):
    """Trains, and reports what its checkpoints cost."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import keras_hub
    import numpy as np
    import tensorflow as tf

    import tfbert
    from tfbert.recovery.preemption import Preempted
    from tfbert.recovery.session import RecoverySession
    from tfbert.recovery.snapshot import HostCopy, state_variables

    layers, width = (2, 64) if tiny else (12, 768)
    random = np.random.default_rng(0)

    class Batches:
        steps_per_epoch = 10_000

        def dataset(self, epoch, step):
            ids = random.integers(0, 30_522, (BATCH, LENGTH)).astype("int32")
            ones = np.ones_like(ids)
            inputs = {"token_ids": ids, "segment_ids": ones - ones, "padding_mask": ones}
            return tf.data.Dataset.from_tensors((inputs, np.arange(BATCH) % 2)).repeat()

    times = {"steps": [], "busy": [], "stolen": [], "first": None}
    save = RecoverySession._save

    def timed_save(session, wait=False):
        if len(times["stolen"]) >= checkpoints and not wait:
            return
        began = time.perf_counter()
        save(session, wait)
        if not wait:
            times["stolen"].append(time.perf_counter() - began)

    RecoverySession._save = timed_save
    watched = []

    class Watch(keras.callbacks.Callback):
        """Two updates to warm up, then six quiet ones, one with a checkpoint after it, and those
        during its writing; and again."""

        def on_train_begin(self, logs=None):
            self.now, self.quiet = None, -2

        def on_train_batch_begin(self, batch, logs=None):
            self.now, self.busy = time.perf_counter(), watched[0]._checkpoints.busy

        def on_train_batch_end(self, batch, logs=None):
            seconds = time.perf_counter() - self.now
            if times["first"] is None:
                times["first"] = time.time()
                if not checkpoints:
                    pathlib.Path(path).write_text(json.dumps(times))
            elif self.busy:
                times["busy"].append(seconds)
                self.quiet = 0
            else:
                self.quiet += 1
                if self.quiet > 0:
                    times["steps"].append(seconds)
            watched[0]._saved_at = (time.monotonic(), 0 if self.quiet >= 6 else 10**9)
            if checkpoints and len(times["stolen"]) >= checkpoints and self.quiet >= 6:
                variables = state_variables(self.model)
                copies = HostCopy().copy(variables).values()
                times["bytes"] = sum(array.nbytes for array in copies)
                pathlib.Path(path).write_text(json.dumps(times))
                os._exit(0)  # as if it were killed

    begin = RecoverySession.begin

    def watched_begin(session, *arguments):
        watched.append(session)
        begin(session, *arguments)

    RecoverySession.begin = watched_begin
    backbone = keras_hub.models.BertBackbone(30_522, layers, width // 64, width, 4 * width)
    model = tfbert.BertClassifier(backbone, 2)
    model.compile(
        tfbert.LAMB(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True), seed=1
    )
    recovery = tfbert.Recovery(folder, every_steps=1, every_minutes=1e9)
    try:
        model.fit(Batches(), epochs=1, verbose=0, callbacks=[Watch()], recovery=recovery)
    except Preempted as error:
        sys.exit(error.exit_status)


def report(fresh, resumed):
    """The page."""
    step = statistics.median(fresh["steps"])
    worst = max(fresh["stolen"])
    count = len(fresh["stolen"])
    longer = sum(fresh["busy"]) - step * len(fresh["busy"])
    overhead = (sum(fresh["stolen"]) + longer) / count / (EVERY * step)
    ratio = resumed["start"] / fresh["start"]

    def row(what, text, value, limit, target=""):
        return [what, text, target or limit, "reached" if value < limit else "missed"]

    rows = [
        row("taken from training by one, the longest, s", f"{worst:.3f}", worst, 0.5),
        row(f"overhead of one each {EVERY} updates, %", f"{100 * overhead:.2f}", overhead, 0.01, 1),
        ["start to first update, fresh, s", f"{fresh['start']:.1f}", "", ""],
        ["start to first update, resumed, s", f"{resumed['start']:.1f}", "", ""],
        row("resumed against fresh", f"{ratio:.2f}", ratio, 1.5),
        row("SIGTERM to the end of the process, s", f"{resumed['end']:.1f}", resumed["end"], 30),
    ]
    return f"""# What checkpoints cost

Written by `python scripts/benchmarks/checkpoints.py`. {cores()},
random weights of BERT-Base, LAMB, batches of {BATCH} x {LENGTH}, {fresh["bytes"] / 1e9:.2f} GB a
checkpoint, median update {step:.2f} s, {count} checkpoints; load average of the machine at the end
{os.getloadavg()[1]:.1f}: with more than the cores, all times are too long.

{chr(10).join(table(["what", "measured", "target", ""], rows))}

The overhead is the time taken from training by all checkpoints, and that by which the updates
during their writing were longer than the median of the others, in one of {EVERY} median updates.
The copy stands still for training; checksum and writing happen in a thread of low priority.
"""


if __name__ == "__main__":
    main()

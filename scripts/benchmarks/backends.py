"""One pre-training step on TensorFlow and on JAX, on this CPU; writes docs/benchmark_backends.md.

    python scripts/benchmarks/backends.py [--output FILE] [--rounds N] [--tiny]

Each backend has a process of its own; the processes take turns. 10 minutes on 2 cores.
"""

import argparse
import itertools
import json
import os
import statistics

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from shared.machine import answer_of, cores
from shared.page import make_parser, require, table, write_page
from shared.turns import in_turns

BACKENDS = ("tensorflow", "jax")
VOCABULARY, BATCH, LENGTH, PREDICTIONS = 8_000, 16, 128, 20
# Layers, width, heads, width of the feed-forward net.
SMALL, TINY = (4, 256, 4, 1_024), (1, 32, 2, 64)
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def main():
    parser = make_parser(__doc__, "benchmark_backends.md", "two steps of a tiny model", rounds=3)
    parser.add_argument("--measure", choices=POLICIES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measured(arguments.measure, arguments.tiny)))
        return
    require("tensorflow", "jax")
    cases = [(precision, backend) for precision in POLICIES for backend in BACKENDS]
    found = {case: [] for case in cases}
    options = ["--tiny"] * arguments.tiny
    for _, case in in_turns(cases, 1 if arguments.tiny else arguments.rounds):
        words = [__file__, "--measure", case[0], *options]
        found[case].append(answer_of(*words, KERAS_BACKEND=case[1]))
    write_page(arguments.output, report(found, arguments.tiny))


def measured(precision, tiny):
    """Seconds a step, and those of the first, with the compilation."""
    import time

    import keras
    import numpy as np

    import tfbert
    from tfbert.models.pretrainer import make_pretrainer
    from tfbert.models.sizes import BertSize

    size = BertSize(*(TINY if tiny else SMALL))
    model = make_pretrainer(size, VOCABULARY, dtype=POLICIES[precision])
    model.compile(
        tfbert.LAMB(1e-3, max_grad_norm=1.0),
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
        jit_compile=False,  # on TensorFlow; JAX compiles in any case
    )
    random = np.random.default_rng(0)
    ids = random.integers(5, VOCABULARY, (BATCH, LENGTH)).astype("int32")
    places = np.sort(
        random.permuted(np.tile(np.arange(LENGTH), (BATCH, 1)), axis=1)[:, :PREDICTIONS]
    )
    inputs = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": np.ones_like(ids),
        "mask_positions": np.sort(places).astype("int32"),
    }
    targets = {"mlm": ids[:, :PREDICTIONS], "nsp": ids[:, 0] % 2}
    weights = {name: np.ones(target.shape, "float32") for name, target in targets.items()}
    times = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # waits for the device
            times.append(time.perf_counter())

    def batches():
        while True:
            yield inputs, targets, weights

    began = time.perf_counter()
    steps = 3 if tiny else 20
    model.fit(batches(), steps_per_epoch=steps, verbose=0, callbacks=[Clock()])
    seconds = [after - before for before, after in itertools.pairwise(times)]
    module = __import__(keras.backend.backend())
    return {
        "first": times[0] - began,
        "step": statistics.median(seconds),
        "version": module.__version__,
        "keras": keras.__version__,
    }


def report(found, tiny):
    """The page: a row for each precision and backend."""
    rows = []
    for (precision, backend), answers in found.items():
        steps = sorted(answer["step"] for answer in answers)
        first = statistics.median(answer["first"] for answer in answers)
        middle = statistics.median(steps)
        rows.append(
            [
                precision,
                f"{backend} {answers[0]['version']}",
                f"{1e3 * middle:.0f} ({1e3 * steps[0]:.0f} to {1e3 * steps[-1]:.0f})",
                f"{BATCH / middle:.1f}",
                f"{first:.0f}",
            ]
        )
    keras = found["float32", "jax"][0]["keras"]
    layers, width, *_ = TINY if tiny else SMALL
    lines = [
        "# Benchmark: one step on TensorFlow and on JAX",
        "",
        "Written by `python scripts/benchmarks/backends.py`; medians, extremes in "
        "brackets, of processes that take turns.",
        f"BERT of {layers} layers, {width} wide, {VOCABULARY} word pieces; a pre-training step of "
        f"{BATCH} x {LENGTH} tokens and {PREDICTIONS} predictions, dropout 0.1, LAMB. "
        f"Keras {keras}, {cores()}.",
        "",
        *table(["precision", "backend", "ms a step", "sequences/s", "first step, s"], rows),
        "",
        "TensorFlow computes matrix products on a CPU by oneDNN, without XLA. JAX compiles the "
        "whole step by XLA, which is made for accelerators.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

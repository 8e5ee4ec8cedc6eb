"""What `fit` costs beside the work itself; writes docs/benchmark_train_function.md.

    python scripts/benchmarks/train_function.py [--output FILE] [--rounds N] [--tiny]

Speed: all forms of a model take turns in one process. Memory: a process for each case, the peak of
its resident memory above what it was before the first update. 5 minutes on 2 cores.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from timing import take_turns, timed_fit

import tfbert

OVERHEAD, SPEEDUP, MEMORY = 1.03, 1.2, 1.10
CLASSES = 2
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
MICRO_BATCH, PIECES = 4, 8
MEMORY_CASES = ("micro-batch", "accumulated", "stock", "full", "rematerialized")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    docs = pathlib.Path(__file__).resolve().parents[2] / "docs"
    parser.add_argument("--output", type=pathlib.Path, default=docs / "benchmark_train_function.md")
    parser.add_argument("--rounds", type=int, default=7, help="timings of each form")
    parser.add_argument("--tiny", action="store_true", help="a few steps, to try the script")
    parser.add_argument("--memory", choices=MEMORY_CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(memory_of(arguments.memory, arguments.tiny)))
        return
    scale = 8 if arguments.tiny else 1
    rounds = 2 if arguments.tiny else arguments.rounds
    medium = speeds(
        {"num_layers": 4, "hidden_dim": 256, "num_heads": 4},
        16,
        128,
        8 // scale,
        rounds,
        ("raw loop", "tfbert fit", "stock fit"),
    )
    small = speeds({"num_layers": 2, "hidden_dim": 64, "num_heads": 2}, 8, 32, 128 // scale, rounds)
    memory = {case: measured_apart(case, arguments.tiny) for case in MEMORY_CASES}
    text = report(medium, small, memory)
    arguments.output.write_text(text)
    print(text)


def make_model(kind, size, rematerialize=False):
    """A classifier on a BERT without dropout; `stock` has Keras' own `fit`."""
    keras.utils.set_random_seed(0)
    config = {"vocabulary_size": 2_000, "intermediate_dim": 4 * size["hidden_dim"], **size}
    if kind == "stock":
        backbone = keras_hub.models.BertBackbone(**config, dropout=0.0)
    else:
        backbone = tfbert.BertEncoder(**config, dropout=0.0, rematerialize=rematerialize)
    model = tfbert.BertClassifier(backbone, CLASSES, dropout=0.0)
    return keras.Model(model.input, model.output) if kind == "stock" else model


def random_batches(rows, tokens, steps):
    """An endless dataset of one batch, so that feeding costs nothing."""
    random = np.random.default_rng(0)
    inputs = {
        "token_ids": random.integers(0, 2_000, (rows, tokens)).astype(np.int32),
        "segment_ids": np.zeros((rows, tokens), np.int32),
        "padding_mask": np.ones((rows, tokens), np.int32),
    }
    labels = random.integers(0, CLASSES, rows).astype(np.int32)
    return tf.data.Dataset.from_tensors((inputs, labels)).cache().repeat()


def speeds(size, rows, tokens, steps, rounds, names=None):
    """{form: [seconds a step of each round]} of all forms, or those named; they take turns."""
    data = random_batches(rows, tokens, steps)
    forms = {"raw loop": raw_loop(make_model("ours", size), data)}
    for name, kind, options in (
        ("tfbert fit", "ours", {}),
        ("tfbert fit, 32 steps an execution", "ours", {"steps_per_execution": 32}),
        (
            "tfbert fit, 32 steps an execution, XLA",
            "ours",
            {"steps_per_execution": 32, "jit_compile": True},
        ),
        ("stock fit", "stock", {"jit_compile": False}),
        (
            "stock fit, 32 steps an execution",
            "stock",
            {"steps_per_execution": 32, "jit_compile": False},
        ),
    ):
        if names is None or name in names:
            forms[name] = fitted(make_model(kind, size), data, options)
    return take_turns(forms, steps, rounds, warmup=max(2, min(steps, 64)))


def fitted(model, data, options):
    """A function that trains for a number of steps with `fit`; it returns the seconds a step."""
    model.compile(keras.optimizers.SGD(0.01), LOSS, metrics=["accuracy"], **options)
    return timed_fit(model, data)


def raw_loop(model, data):
    """The same step, written by hand: forward, loss, gradient, update, two metrics."""
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(model.trainable_variables)
    mean = keras.metrics.Mean()
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    iterator = iter(data)

    @tf.function(autograph=False)
    def step():
        inputs, labels = next(iterator)
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            loss = LOSS(labels, logits)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        mean.update_state(loss)
        accuracy.update_state(labels, logits)

    def form(steps):
        step()
        began = time.perf_counter()
        for _ in range(steps):
            step()
        mean.result().numpy()  # waits
        return (time.perf_counter() - began) / steps

    return form


def measured_apart(case, tiny):
    """`memory_of` a case in a process of its own."""
    command = [sys.executable, __file__, "--memory", case, *(["--tiny"] if tiny else [])]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def memory_of(case, tiny):
    """Peak bytes above the state before training, bytes of one set of gradients, seconds a step."""
    micro, pieces = MICRO_BATCH, PIECES
    size = {"num_layers": 4, "hidden_dim": 64 if tiny else 512, "num_heads": 4}
    model = make_model(
        "stock" if case == "stock" else "ours", size, rematerialize=case == "rematerialized"
    )
    options = {"accumulate_steps": pieces} if case == "accumulated" else {}
    model.compile(keras.optimizers.SGD(0.01), LOSS, jit_compile=False, **options)
    model.optimizer.build(model.trainable_variables)
    rows = micro if case == "micro-batch" else micro * pieces
    data = random_batches(rows, 128, 1)
    before = resident_bytes()
    model.fit(data, steps_per_epoch=2, verbose=0)
    began = time.perf_counter()
    model.fit(data, steps_per_epoch=2, verbose=0)
    seconds = (time.perf_counter() - began) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    gradients = sum(4 * int(np.prod(v.shape)) for v in model.trainable_variables)
    return {"peak": peak - before, "gradients": gradients, "seconds": seconds / rows}


def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def report(medium, small, memory):
    """The document: numbers asked for, then all measurements."""
    medians = [{k: statistics.median(v) for k, v in times.items()} for times in (medium, small)]
    overhead = medians[0]["tfbert fit"] / medians[0]["raw loop"]
    many = "tfbert fit, 32 steps an execution"
    speedup = medians[1]["stock fit"] / medians[1][many]
    allowed = memory["micro-batch"]["peak"] + memory["micro-batch"]["gradients"]
    ratio = memory["accumulated"]["peak"] / allowed
    saved = 1 - memory["rematerialized"]["peak"] / memory["full"]["peak"]
    cost = memory["rematerialized"]["seconds"] / memory["full"]["seconds"]
    lines = [
        "# Benchmark: the training function",
        "",
        "Written by `python scripts/benchmarks/train_function.py`; medians of forms that take "
        "turns, on CPU, float32, SGD, no dropout.",
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {os.cpu_count()} cores "
        f"({platform.machine()}).",
        "",
        "| what | asked | measured |",
        "|---|---|---|",
        f"| `fit` against a raw loop, 4 x 256, 16 x 128 | at most {OVERHEAD} | {overhead:.3f} |",
        f"| against stock `fit`, 2 x 64, 8 x 32, 32 steps an execution | at least {SPEEDUP} | "
        f"{speedup:.2f} |",
        f"| peak memory of {PIECES} micro-batches of {MICRO_BATCH} x 128, 4 x 512, against one and "
        f"one set of gradients | at most {MEMORY} | {ratio:.2f} |",
        f"| rematerialisation: memory saved | | {100 * saved:.0f} % |",
        f"| rematerialisation: time | | x {cost:.2f} |",
    ]
    for title, median in zip(
        ("4 x 256, batch 16 x 128", "2 x 64, batch 8 x 32"), medians, strict=True
    ):
        lines += ["", f"## {title}", "", "| form | steps/s | of the raw loop |", "|---|---|---|"]
        lines += [
            f"| {name} | {1 / seconds:.1f} | {median['raw loop'] / seconds:.2f} |"
            for name, seconds in median.items()
        ]
    lines += [
        "",
        "## Peak memory above the state before training (4 x 512, 128 tokens)",
        "",
        "| case | rows | peak MB | ms a row |",
        "|---|---|---|---|",
    ]
    names = {
        "micro-batch": ("tfbert, one micro-batch", MICRO_BATCH),
        "accumulated": ("tfbert, accumulate_steps=8", MICRO_BATCH * PIECES),
        "stock": ("stock Keras and KerasHub, whole batch", MICRO_BATCH * PIECES),
        "full": ("tfbert, whole batch", MICRO_BATCH * PIECES),
        "rematerialized": ("tfbert, whole batch, rematerialize=True", MICRO_BATCH * PIECES),
    }
    for case, (name, rows) in names.items():
        peak, seconds = memory[case]["peak"] / 1e6, 1e3 * memory[case]["seconds"]
        lines.append(f"| {name} | {rows} | {peak:.0f} | {seconds:.1f} |")
    lines.append(f"\nOne set of gradients: {memory['full']['gradients'] / 1e6:.0f} MB.\n")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

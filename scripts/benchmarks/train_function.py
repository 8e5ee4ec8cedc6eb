"""What `fit` costs in addition to the work itself; writes docs/benchmark_train_function.md.

    python scripts/benchmarks/train_function.py [--output FILE] [--rounds N] [--tiny]

Speed: all forms of a model take turns in one process. Memory: a process for each case, the peak of
its resident memory above what it was before the first update. 5 minutes on 2 cores.
"""

import argparse
import json
import os
import statistics
import time

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from shared.machine import answer_of, cores, peak_bytes, resident_bytes, versions
from shared.page import make_parser, table, write_page
from shared.turns import take_turns, timed_fit

import tfbert

OVERHEAD, SPEEDUP, MEMORY = 1.03, 1.2, 1.10
CLASSES = 2
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
MICRO_BATCH, MICRO_BATCHES = 4, 8
MEMORY_CASES = {
    "micro-batch": "tfbert, one micro-batch",
    "accumulated": "tfbert, accumulate_steps=8",
    "stock": "stock Keras and KerasHub, whole batch",
    "full": "tfbert, whole batch",
    "rematerialized": "tfbert, whole batch, rematerialize=True",
}


def main():
    parser = make_parser(__doc__, "benchmark_train_function.md", "a few steps", rounds=7)
    parser.add_argument("--memory", choices=MEMORY_CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(memory_of(arguments.memory, arguments.tiny)))
        return
    rounds = 2 if arguments.tiny else arguments.rounds
    some, many = (2, 64) if arguments.tiny else (8, 128)  # steps a round
    wide = {"num_layers": 4, "hidden_dim": 256, "num_heads": 4}
    narrow = {"num_layers": 2, "hidden_dim": 64, "num_heads": 2}
    medium = speeds(wide, 16, 128, some, rounds, ("raw loop", "tfbert fit", "stock fit"))
    small = speeds(narrow, 8, 32, many, rounds)
    tiny = ["--tiny"] * arguments.tiny
    memory = {case: answer_of(__file__, "--memory", case, *tiny) for case in MEMORY_CASES}
    write_page(arguments.output, report(medium, small, memory))


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
    """An endless dataset of one batch, so that its input costs nothing."""
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
    many = {"steps_per_execution": 32}
    for name, kind, options in (
        ("tfbert fit", "ours", {}),
        ("tfbert fit, 32 steps an execution", "ours", many),
        ("tfbert fit, 32 steps an execution, XLA", "ours", {**many, "jit_compile": True}),
        ("stock fit", "stock", {"jit_compile": False}),
        ("stock fit, 32 steps an execution", "stock", {**many, "jit_compile": False}),
    ):
        if names is None or name in names:
            model = make_model(kind, size)
            model.compile(keras.optimizers.SGD(0.01), LOSS, metrics=["accuracy"], **options)
            forms[name] = timed_fit(model, data)
    return take_turns(forms, steps, rounds, warmup=max(2, min(steps, 64)))


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


def memory_of(case, tiny):
    """Peak bytes above the state before training, bytes of one set of gradients, seconds a step."""
    size = {"num_layers": 4, "hidden_dim": 64 if tiny else 512, "num_heads": 4}
    model = make_model(
        "stock" if case == "stock" else "ours", size, rematerialize=case == "rematerialized"
    )
    options = {"accumulate_steps": MICRO_BATCHES} if case == "accumulated" else {}
    model.compile(keras.optimizers.SGD(0.01), LOSS, jit_compile=False, **options)
    model.optimizer.build(model.trainable_variables)
    rows = MICRO_BATCH * (1 if case == "micro-batch" else MICRO_BATCHES)
    data = random_batches(rows, 128, 1)
    before = resident_bytes()
    model.fit(data, steps_per_epoch=2, verbose=0)
    began = time.perf_counter()
    model.fit(data, steps_per_epoch=2, verbose=0)
    seconds = (time.perf_counter() - began) / 2
    peak = peak_bytes()
    gradients = sum(4 * int(np.prod(v.shape)) for v in model.trainable_variables)
    return {"peak": peak - before, "gradients": gradients, "seconds": seconds / rows}


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
    asked = [
        ["`fit` against a raw loop, 4 x 256, 16 x 128", f"at most {OVERHEAD}", f"{overhead:.3f}"],
        [
            "against stock `fit`, 2 x 64, 8 x 32, 32 steps an execution",
            f"at least {SPEEDUP}",
            f"{speedup:.2f}",
        ],
        [
            f"peak memory of {MICRO_BATCHES} micro-batches of {MICRO_BATCH} x 128, 4 x 512, "
            "against one and one set of gradients",
            f"at most {MEMORY}",
            f"{ratio:.2f}",
        ],
        ["rematerialisation: memory saved", "", f"{100 * saved:.0f} %"],
        ["rematerialisation: time", "", f"x {cost:.2f}"],
    ]
    lines = [
        "# Benchmark: the training function",
        "",
        "Written by `python scripts/benchmarks/train_function.py`; medians of forms that take "
        "turns, on CPU, float32, SGD, no dropout.",
        f"{versions('TensorFlow', 'Keras')}, {cores()}.",
        "",
        *table(["what", "asked", "measured"], asked),
    ]
    for title, median in zip(
        ("4 x 256, batch 16 x 128", "2 x 64, batch 8 x 32"), medians, strict=True
    ):
        rows = [
            [name, f"{1 / seconds:.1f}", f"{median['raw loop'] / seconds:.2f}"]
            for name, seconds in median.items()
        ]
        lines += ["", f"## {title}", "", *table(["form", "steps/s", "of the raw loop"], rows)]
    rows = [
        [
            name,
            MICRO_BATCH * (1 if case == "micro-batch" else MICRO_BATCHES),
            f"{memory[case]['peak'] / 1e6:.0f}",
            f"{1e3 * memory[case]['seconds']:.1f}",
        ]
        for case, name in MEMORY_CASES.items()
    ]
    lines += ["", "## Peak memory above the state before training (4 x 512, 128 tokens)", ""]
    lines += table(["case", "rows", "peak MB", "ms a row"], rows)
    lines.append(f"\nOne set of gradients: {memory['full']['gradients'] / 1e6:.0f} MB.\n")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

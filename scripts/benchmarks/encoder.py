"""Time of one training step of our encoder against KerasHub's; writes docs/benchmark_encoder.md.

    python scripts/benchmarks/encoder.py [--output FILE] [--rounds N] [--tiny] [--rows TEXT]
        [--precisions float32,mixed_bfloat16]

Forward and backward pass, without an optimizer, under tf.function, dropout 0.1. Both encoders
take turns; some 15 minutes on 2 cores without bfloat16 instructions.
Peak memory is that of a process of its own for each form.
"""

import argparse
import json
import os
import statistics

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from shared.machine import answer_of, hardware, peak_bytes, versions
from shared.page import make_parser, reached, table, write_page
from shared.turns import take_turns, timed

from tfbert.hardware.peaks import matmul_peak
from tfbert.hardware.precision import choose_precision
from tfbert.models.encoder import BertEncoder, to_stock
from tfbert.models.sizes import BertSize
from tfbert.recipes.flops import training_flops

MINILM = {"num_layers": 6, "num_heads": 12, "hidden_dim": 384, "intermediate_dim": 1536}
SMALL = {"num_layers": 4, "num_heads": 8, "hidden_dim": 512, "intermediate_dim": 2048}
TINY = {"num_layers": 1, "num_heads": 2, "hidden_dim": 32, "intermediate_dim": 64}
# (name, size, batch, tokens)
ROWS = [
    ("MiniLM, 32 x 128", MINILM, 32, 128),
    ("MiniLM, 32 x 256", MINILM, 32, 256),
    ("MiniLM, 8 x 512", MINILM, 8, 512),
    ("4 layers of 512, 16 x 128", SMALL, 16, 128),
]
PRECISIONS = ("float32", "mixed_bfloat16")
FORMS = ("stock", "ours", "ours, rematerialised")
HEADS = ["encoder", "precision", "stock, ms", "ours, ms", "times faster", "stock, of the peak"]
HEADS += ["ours, of the peak", "remade, ms", "remade / ours", "stock, MiB", "ours, MiB"]
HEADS += ["remade, MiB"]
AIM = 1.5


def main():
    parser = make_parser(__doc__, "benchmark_encoder.md", "one layer of 32", rounds=5)
    parser.add_argument("--rows", default="", help="only the rows whose name has this text")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rows = [row for row in ROWS if arguments.rows in row[0]]
    if arguments.tiny:
        rows = [(name, TINY, 2, 16) for name, *_ in rows]
    if arguments.memory_of:
        form, name, precision = arguments.memory_of
        _, *shape = next(row for row in rows if row[0] == name)
        print(json.dumps(extra_memory(form, *shape, precision)))
        return
    results = []
    for name, size, batch, tokens in rows:
        for precision in arguments.precisions.split(","):
            forms = {form: timed(make_step(form, size, batch, tokens, precision)) for form in FORMS}
            times = take_turns(forms, 1, arguments.rounds)
            memory = {}
            for form in FORMS:
                words = [__file__, "--memory-of", form, name, precision]
                memory[form] = answer_of(*words, *["--tiny"] * arguments.tiny)
            flops = batch * training_flops(BertSize(**size), 0, tokens, 0, False).encoder
            best_ms = 1e3 * flops / matmul_peak(precision.removeprefix("mixed_"))
            results.append((name, precision, times, memory, best_ms))
    write_page(arguments.output, report(results, arguments.rounds))


def make_step(form, size, batch, tokens, precision):
    """A function that runs forward and backward pass once and waits for them."""
    keras.utils.set_random_seed(0)
    encoder = BertEncoder(
        vocabulary_size=30_522, **size, dtype=precision, rematerialize="remat" in form
    )
    model = to_stock(encoder) if form == "stock" else encoder
    ids = np.random.RandomState(0).randint(0, 30_000, (batch, tokens)).astype("int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    weights = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False)
    def step(inputs):
        with tf.GradientTape() as tape:
            pooled = model(inputs, training=True)["pooled_output"]
            loss = tf.reduce_sum(tf.square(tf.cast(pooled, tf.float32)))
        gradients = tape.gradient(loss, weights)
        # A scalar of each, so that all are computed and none is copied out.
        return [tf.reduce_sum(g.values if hasattr(g, "values") else g) for g in gradients]

    def run():
        for value in step(inputs):
            value.numpy()

    return run


def extra_memory(form, *shape):
    """Bytes by which two steps raise the peak of this process."""
    run = make_step(form, *shape)
    before = peak_bytes()
    for _ in range(2):
        run()
    return peak_bytes() - before


def report(results, rounds):
    """The page, as Markdown."""
    rows, best = [], {}
    for name, precision, times, memory, best_ms in results:
        ms = {form: 1e3 * statistics.median(values) for form, values in times.items()}
        stock, ours, remade = (ms[form] for form in FORMS)
        best[name, precision] = stock / ours
        row = [name, precision, f"{stock:.0f}", f"{ours:.0f}", f"**{stock / ours:.2f}**"]
        row += [f"{100 * best_ms / stock:.0f} %", f"{100 * best_ms / ours:.0f} %"]
        row += [f"{remade:.0f}", f"{remade / ours:.2f}"]
        rows.append(row + [f"{memory[form] / 2**20:.0f}" for form in FORMS])
    verdict = ""
    target = best.get(("MiniLM, 8 x 512", "mixed_bfloat16"))
    if target:
        verdict = (
            f"The aim at 8 x 512 in mixed_bfloat16 is {AIM} times stock: {target:.2f} "
            f"({reached(target >= AIM)})."
        )
    return f"""# One training step of the encoder on a CPU

Written by `python scripts/benchmarks/encoder.py`: medians of {rounds} rounds in which all forms
take turns; forward and backward pass, dropout 0.1, no optimizer. Stock is KerasHub's
`BertBackbone`; ours is `tfbert.BertEncoder`. {hardware()}, {versions("TensorFlow")},
{versions("Keras", "KerasHub")}; `--precision auto` is
{choose_precision("auto")} on this machine.

{chr(10).join(table(HEADS, rows))}

Of the peak: the layers' matrix products alone, at what a product of 2,048 x 2,048 reaches, measured
after the row. Remade: `rematerialize=True`, each layer's activations are computed again in the
backward pass. MiB: by how much the process's peak grows in the first two steps, graph building
included.
{verdict}
"""


if __name__ == "__main__":
    main()

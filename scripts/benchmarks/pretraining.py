"""One pre-training step against stock Keras and torch; writes docs/benchmark_pretraining.md.

    python scripts/benchmarks/pretraining.py [--output FILE] [--rounds N] [--tiny]

BERT-Small (4 layers, 512 wide), 16 sequences of 128 tokens with 20 predictions, dropout 0.1. All
forms take turns in one process; some 6 minutes on 2 cores. Those in bfloat16 take part only where
the CPU has instructions for it: elsewhere one of their steps takes minutes. Needs the extra
`benchmarks`.
"""

import contextlib
import dataclasses
import os
import statistics

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from shared.machine import cores, versions
from shared.page import make_parser, require, table, write_page
from shared.turns import take_turns, timed, timed_fit

import tfbert
from tfbert.hardware.peaks import matmul_peak
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.models.pretrainer import make_pretrainer
from tfbert.models.sizes import SIZES
from tfbert.recipes.flops import training_flops

BATCH, LENGTH, PREDICTIONS, VOCABULARY = 16, 128, 20, 30_522
TINY = dataclasses.replace(SIZES["tiny"], num_layers=1)
# By the precision that `auto` is: times as fast as stock, and as torch in the same precision.
TO_REACH = {"bfloat16": (2.6, 3.0), "float32": (1.3, 1.6)}


def main():
    parser = make_parser(__doc__, "benchmark_pretraining.md", "one layer of 128", rounds=5)
    arguments = parser.parse_args()
    require("torch", "transformers")
    size = TINY if arguments.tiny else SIZES["small"]
    batch = random_batch()
    forms = {"stock Keras, float32": stock(size, batch)}
    best = choose_precision("auto")
    precisions = list(dict.fromkeys(("float32", best)))
    for precision in precisions:
        forms[f"tfbert, {precision}"] = ours(size, batch, precision)
        forms[f"torch, {precision}"] = in_torch(size, batch, precision)
    times = take_turns(forms, 3 if arguments.tiny else 6, 2 if arguments.tiny else arguments.rounds)
    peaks = {name: matmul_peak(name) for name in precisions}
    text = report({name: statistics.median(t) for name, t in times.items()}, peaks, size, best)
    write_page(arguments.output, text)


def random_batch():
    """A batch of records as `examples_of` makes it: inputs, targets, weights."""
    random = np.random.default_rng(0)
    ids = random.integers(5, VOCABULARY, (BATCH, LENGTH), dtype=np.int32)
    positions = [np.sort(random.permutation(LENGTH)[:PREDICTIONS]) for _ in range(BATCH)]
    inputs = {
        "token_ids": ids,
        "segment_ids": (np.arange(LENGTH) >= LENGTH // 2).astype(np.int32) + 0 * ids,
        "padding_mask": np.ones_like(ids),
        "mask_positions": np.array(positions, np.int32),
    }
    targets = {
        "mlm": random.integers(5, VOCABULARY, (BATCH, PREDICTIONS), dtype=np.int32),
        "nsp": random.integers(0, 2, BATCH, dtype=np.int32),
    }
    weights = {"mlm": np.ones((BATCH, PREDICTIONS), np.float32), "nsp": np.ones(BATCH, np.float32)}
    return inputs, targets, weights


def repeated(*batch):
    """An endless dataset of one batch, so that its input costs nothing."""
    return tf.data.Dataset.from_tensors(batch).cache().repeat()


def stock(size, batch):
    """KerasHub's `BertMaskedLM` with Keras' own `Lamb` and `fit`: no next-sentence head."""
    inputs, targets, weights = batch
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY, **dataclasses.asdict(size), dropout=0.1
    )
    model = keras_hub.models.BertMaskedLM(backbone, preprocessor=None)
    model.compile(
        keras.optimizers.Lamb(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy()],
        jit_compile=False,
    )
    return timed_fit(model, repeated(inputs, targets["mlm"], weights["mlm"]))


def ours(size, batch, precision):
    """`BertPretrainer` with `tfbert.LAMB` and `fit`."""
    keras.utils.set_random_seed(0)
    model = make_pretrainer(size, VOCABULARY, dtype=POLICIES[precision])
    model.compile(
        tfbert.LAMB(1e-4),
        loss=model.pretraining_losses(),
        weighted_metrics=model.pretraining_metrics(),
    )
    return timed_fit(model, repeated(*batch))


def in_torch(size, batch, precision):
    """transformers' `BertForPreTraining` with AdamW; its head covers every position."""
    import torch
    import transformers

    inputs, targets, _ = batch
    torch.manual_seed(0)
    model = transformers.BertForPreTraining(
        transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=size.hidden_dim,
            num_hidden_layers=size.num_layers,
            num_attention_heads=size.num_heads,
            intermediate_size=size.intermediate_dim,
        )
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    labels = np.full((BATCH, LENGTH), -100)
    np.put_along_axis(labels, inputs["mask_positions"].astype(np.int64), targets["mlm"], axis=1)
    arguments = {
        "input_ids": torch.tensor(inputs["token_ids"]).long(),
        "token_type_ids": torch.tensor(inputs["segment_ids"]).long(),
        "attention_mask": torch.tensor(inputs["padding_mask"]).long(),
        "labels": torch.tensor(labels),
        "next_sentence_label": torch.tensor(targets["nsp"]).long(),
    }
    half = precision == "bfloat16"
    autocast = torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()

    def step():
        with autocast:
            loss = model(**arguments).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return timed(step)


def report(seconds, peaks, size, best):
    """The page, as Markdown; `best` is the precision that `auto` is here."""
    flops = BATCH * training_flops(size, VOCABULARY, LENGTH, PREDICTIONS).total
    stock_seconds = seconds["stock Keras, float32"]
    ours_seconds = seconds[f"tfbert, {best}"]
    than_stock, than_torch = TO_REACH[best]
    torch_seconds = seconds[f"torch, {best}"]
    rows = [
        [
            name,
            f"{1e3 * value:.0f}",
            f"{BATCH / value:.1f}",
            f"{stock_seconds / value:.2f}",
            f"{100 * flops / value / peaks[name.split(', ')[1]]:.0f} %",
        ]
        for name, value in seconds.items()
    ]
    heads = ["form", "ms a step", "sequences/s", "of stock", "of the matmul peak"]
    native = "yes" if best == "bfloat16" else "no, so that its forms are left out"
    rates = ", ".join(f"{name} {value / 1e9:.0f}" for name, value in peaks.items())
    return f"""# One pre-training step on a CPU

Written by `python scripts/benchmarks/pretraining.py`: medians of forms that take turns.
{size.num_layers} layers, {size.hidden_dim} wide, {BATCH} sequences of {LENGTH} tokens,
{PREDICTIONS} predictions, dropout 0.1, {VOCABULARY:,} word pieces. Stock is KerasHub's
`BertMaskedLM` with `keras.optimizers.Lamb`, torch transformers' `BertForPreTraining` with AdamW,
whose head covers every position. {cores()}, bfloat16
instructions: {native}; {versions("TensorFlow", "Keras", "KerasHub", "torch", "transformers")}.

{chr(10).join(table(heads, rows))}

The last column counts the model's operations ({flops:.3g} a step, `tfbert.recipes.flops`) for
each form alike, and takes the peak of that precision, measured in this run: {rates} GFLOP/s.

| what | asked | measured |
|---|---|---|
| tfbert, {best}, against stock | at least {than_stock} times | {stock_seconds / ours_seconds:.2f} |
| tfbert, {best}, against torch | at least {than_torch} times | {torch_seconds / ours_seconds:.2f} |
"""


if __name__ == "__main__":
    main()

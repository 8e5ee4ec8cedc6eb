"""One form of gpu.py in torch: `python gpu_torch.py REQUEST`, JSON; prints its numbers as JSON."""

import contextlib
import json
import sys

import numpy as np
import torch
import transformers
from gpu_timing import (
    FINE_TUNING_ROWS,
    VOCABULARY,
    random_batch,
    seconds_a_step,
    shape_of,
    size_of,
    sst2_lengths,
    steps_of,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main(request):
    request = json.loads(request)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    made = {"pretraining": pretraining, "finetuning": finetuning}[request["what"]](request)
    memory = torch.cuda.max_memory_allocated() if DEVICE == "cuda" else None
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({**made, "memory": memory, "versions": versions}))


def config_of(request):
    layers, width, heads, intermediate = size_of(request)
    return transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        attn_implementation="sdpa",
    )


def on_device(array, dtype=torch.long):
    return torch.as_tensor(np.asarray(array)).to(DEVICE, dtype)


def synchronised(step):
    """A function of a number of steps, which returns when they are computed."""

    def run(steps):
        for number in range(steps):
            step(number)
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return run


def bfloat16():
    return torch.autocast(DEVICE, torch.bfloat16)


def optimizer_of(model, rate):
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01, fused=DEVICE == "cuda")


def compiled(function, request):
    """By torch.compile, which on a CPU needs a compiler of C++ that may not be there."""
    return function if request["tiny"] else torch.compile(function)


def pretraining(request):
    """A step of `BertForPreTraining`.

    Its masked-LM head sees the masked positions alone, as ours. There is no attention mask, as
    nothing is padding, so that SDPA may take its fastest kernel.
    """
    rows, length, predictions = shape_of(request)
    inputs, places, targets, order = random_batch(rows, length, predictions)
    model = transformers.BertForPreTraining(config_of(request)).to(DEVICE).train()
    optimizer = optimizer_of(model, 1e-4)
    ids, segments = on_device(inputs["token_ids"]), on_device(inputs["segment_ids"])
    places, targets, order = on_device(places), on_device(targets), on_device(order)
    cross_entropy = torch.nn.functional.cross_entropy

    def loss_of():
        outputs = model.bert(ids, token_type_ids=segments)
        sequence, pooled = outputs.last_hidden_state, outputs.pooler_output
        picked = torch.gather(sequence, 1, places[..., None].expand(-1, -1, sequence.shape[-1]))
        words, sentences = model.cls(picked, pooled)
        masked = cross_entropy(words.flatten(0, 1).float(), targets.flatten())
        return masked + cross_entropy(sentences.float(), order)

    loss_of = compiled(loss_of, request)

    def step(number):
        with bfloat16():
            loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=DEVICE == "cuda")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return {**seconds_a_step(synchronised(step), *steps_of(request, 10, 40)), "batch": rows}


def finetuning(request):
    """A step of fine-tuning: batches of shuffled texts, each padded to its longest."""
    few, many = steps_of(request, 200, 800)
    tokens = sst2_lengths()
    order = np.random.default_rng(1).permutation(len(tokens))
    batches, padded, real = [], 0, 0
    for number in range(many):
        counts = tokens[order[number * FINE_TUNING_ROWS :][:FINE_TUNING_ROWS]]
        ids = np.random.default_rng(number).integers(5, VOCABULARY, (len(counts), counts.max()))
        mask = (np.arange(counts.max()) < counts[:, None]).astype("int64")
        batches.append((ids * mask, mask, ids[:, 0] % 2))
        padded, real = padded + mask.size, real + int(mask.sum())
    model = transformers.BertForSequenceClassification(config_of(request)).to(DEVICE).train()
    optimizer = optimizer_of(model, 3e-5)
    held = [tuple(torch.as_tensor(array) for array in batch) for batch in batches]
    if DEVICE == "cuda":
        held = [tuple(array.pin_memory() for array in batch) for batch in held]

    def step(number):
        ids, mask, labels = (array.to(DEVICE, non_blocking=True) for array in held[number])
        with bfloat16() if DEVICE == "cuda" else contextlib.nullcontext():
            loss = model(ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    found = seconds_a_step(synchronised(step), few, many)
    return {**found, "rows": FINE_TUNING_ROWS, "padding": 1 - real / padded}


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The peer of `tasks.py`: the same recipes with `transformers` in torch, as its examples do.

    python scripts/benchmarks/task_peer.py train TASK FOLDER MODEL SEED
    python scripts/benchmarks/task_peer.py speed MODEL

As `run_glue`, `run_ner` and `run_qa`: their heads, their treatment of words and windows, AdamW
with linear warm-up and decay, gradients clipped at a norm of 1, batches of similar length
(`group_by_length`), bfloat16 (`--bf16`) and with it lengths in multiples of 8. The second command
reads a line of JSON for every turn: `{"task", "folder", "bfloat16", "updates"}`; there, batches are
shuffled freely and padded to their longest. Answers are lines of JSON, too. Needs torch,
transformers, scikit-learn, scipy and seqeval; it does not import this package.
"""

import functools
import itertools
import json
import sys
import time
from pathlib import Path

import torch
import transformers
from task_peer_kinds import make_kind
from task_recipes import MAX_GRAD_NORM, RECIPES, WARMUP, WEIGHT_DECAY
from transformers.trainer_pt_utils import LengthGroupedSampler

EVALUATION_BATCH = 64

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def main(command, *arguments):
    if command == "train":
        print(json.dumps(train(*arguments)))
    else:
        speed(*arguments)


def train(name, folder, model_path, seed):
    """Trains to the end in bfloat16, and measures on the evaluation examples."""
    torch.manual_seed(int(seed))
    recipe, began = RECIPES[name], time.perf_counter()
    kind = make_kind(name, folder, model_path)
    model = kind.make_model(model_path)
    features = kind.features(kind.read(Path(folder) / recipe.train), training=True)
    per_epoch = -(-len(features) // recipe.batch_size)
    step = make_step(model, recipe, recipe.epochs * per_epoch, bfloat16=True)
    generator = torch.Generator().manual_seed(int(seed))
    lengths = [len(feature["input_ids"]) for feature in features]
    for _ in range(recipe.epochs):
        order = list(LengthGroupedSampler(recipe.batch_size, lengths=lengths, generator=generator))
        for rows in batched(order, recipe.batch_size):
            step(kind.collate([features[row] for row in rows]))
    trained = time.perf_counter() - began
    examples = kind.read(Path(folder) / recipe.evaluation)
    metrics = kind.measure(examples, functools.partial(outputs, model, kind))
    return {
        "metric": metrics[recipe.metric],
        "metrics": metrics,
        "updates": recipe.epochs * per_epoch,
        "rows": len(features),
        "seconds": trained,
    }


def speed(model_path):
    """Answers requests: the examples a second of some updates, after one of their largest size."""
    made = {}
    for line in sys.stdin:
        request = json.loads(line)
        name, bfloat16 = request["task"], request["bfloat16"]
        recipe, multiple = RECIPES[name], 8 if bfloat16 else None
        if (name, bfloat16) not in made:
            torch.manual_seed(1)
            kind = make_kind(name, request["folder"], model_path)
            read = kind.read(Path(request["folder"]) / recipe.train)
            features = kind.features(read, training=True)
            order = torch.randperm(len(features)).tolist()
            model = kind.make_model(model_path)
            step = make_step(model, recipe, 10_000, bfloat16)
            made[name, bfloat16] = kind, features, batched(itertools.cycle(order), 1), step
            longest = sorted(features, key=lambda feature: -len(feature["input_ids"]))
            step(kind.collate(longest[: recipe.batch_size], multiple))
        kind, features, order, step = made[name, bfloat16]
        batches = [
            [features[next(order)[0]] for _ in range(recipe.batch_size)]
            for _ in range(request["updates"])
        ]
        began = time.perf_counter()
        for rows in batches:
            step(kind.collate(rows, multiple))
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "rows": sum(map(len, batches))}), flush=True)


def make_step(model, recipe, updates, bfloat16):
    """A function that makes one update on a batch; decay and rate as the `Trainer`'s."""
    decayed = [
        (name, weight)
        for name, weight in model.named_parameters()
        if not (name.endswith("bias") or "LayerNorm" in name)
    ]
    names = {name for name, _ in decayed}
    others = [weight for name, weight in model.named_parameters() if name not in names]
    groups = [
        {"params": [weight for _, weight in decayed], "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, round(WARMUP * updates), updates
    )
    model.train()

    def step(batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    return step


def outputs(model, kind, features):
    """Logits of each feature, float32, in their order; of tokens without their padding."""
    model.eval()
    order = sorted(range(len(features)), key=lambda row: len(features[row]["input_ids"]))
    found = {}
    for rows in batched(order, EVALUATION_BATCH):
        batch = kind.collate([features[row] for row in rows])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            result = model(**{name: batch[name] for name in kind.inputs})
        for row, logits in zip(rows, kind.logits(result), strict=True):
            found[row] = logits
    return [found[row] for row in range(len(features))]


def batched(order, size):
    order = iter(order)
    while rows := list(itertools.islice(order, size)):
        yield rows


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How much padding fine-tuning on JAX leaves, by way of batching; prints a table.

    python scripts/benchmarks/padding.py DATA [--write-lengths]

DATA holds glue/SST-2, glue/MRPC, imdb/ and bert-base-uncased-vocab.txt. Nothing is trained: only
lengths count. The work is that of the matrix products of BERT-Base's layers as a multiple of that
without any padding. `--write-lengths` writes the lengths of SST-2 for gpu.py.
"""

import argparse
import collections
from pathlib import Path

import numpy as np
from gpu_timing import LENGTHS_FILE
from shared.page import table

from tfbert.io.whole import write_json
from tfbert.models.sizes import SIZES
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.tokens.batching import (
    LengthBatches,
    fitted_lengths,
    padded_length,
    padded_lengths,
)
from tfbert.tasks.tokens.tokenization import tokenize
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import read_vocabulary

SETS = (("sst2", "glue/SST-2", 128), ("mrpc", "glue/MRPC", 128), ("imdb", "imdb", 256))
ROWS = 32
SIZE = SIZES["base"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--write-lengths", action="store_true")
    arguments = parser.parse_args()
    tokenizer = BertTokenizer(read_vocabulary(arguments.data / "bert-base-uncased-vocab.txt"))
    rows = []
    for task, folder, limit in SETS:
        train, _ = LabelledData(task, arguments.data / folder).splits()
        pairs = getattr(train, "pairs", None)
        tokens = tokenize(tokenizer, train.texts, limit, pairs).lengths
        if task == "sst2" and arguments.write_lengths:
            counts = {str(k): v for k, v in sorted(collections.Counter(tokens.tolist()).items())}
            write_json(LENGTHS_FILE, {"tokens": "with [CLS] and [SEP]", "counts": counts})
        rows += [[f"{task}, {limit}", *row] for row in ways(tokens, limit)]
    heads = ["data, longest", "way", "lengths", "padding", "work", "without attention"]
    print("\n".join(table(heads, rows)))


def ways(tokens, limit):
    """A row of the table for each way."""
    batches = LengthBatches(tokens, ROWS, seed=1).epoch(0)
    longest = np.array([tokens[batch].max() for batch in batches])
    choices = {
        "all padded to the longest": np.array([limit]),
        "four lengths, evenly": padded_lengths(limit, few=True),
        "four lengths, by the data": fitted_lengths(longest, limit),
        "multiples of 8": padded_lengths(limit),
    }
    for name, lengths in choices.items():
        padded = [(padded_length(tokens[batch], lengths), len(batch)) for batch in batches]
        found = sorted({length for length, _ in padded})
        shown = found if len(found) < 5 else [f"{len(found)} of them"]
        yield [name, ", ".join(map(str, shown)), *measures(padded, tokens)]
    for length in (limit, 2 * limit):
        padded = [(length, packed_rows(tokens, length))]
        yield ["texts packed in rows", str(length), *measures(padded, tokens)]


def measures(padded, tokens):
    """Share of padding, and the work as a multiple of that without padding."""
    computed = sum(length * rows for length, rows in padded)
    whole = sum(rows * work(length) for length, rows in padded)
    least = sum(count * work(length) for length, count in collections.Counter(tokens).items())
    share = 1 - tokens.sum() / computed
    return f"{100 * share:.1f} %", f"{whole / least:.3f}", f"{computed / tokens.sum():.3f}"


def work(length):
    """Multiplications of a row in a layer, as `tfbert.recipes.flops` counts them."""
    width = SIZE.hidden_dim
    return length * (4 * width**2 + 2 * width * SIZE.intermediate_dim + 2 * length * width)


def packed_rows(tokens, length):
    """How many rows hold all texts: the longest first, each into the fullest row with room."""
    rooms = collections.Counter()  # rows by what is free in them
    rows = 0
    for text in np.sort(tokens)[::-1]:
        room = next((free for free in range(text, length) if rooms[free]), None)
        if room is None:
            rows, room = rows + 1, length
        else:
            rooms[room] -= 1
        rooms[room - text] += 1
    return rows


if __name__ == "__main__":
    main()

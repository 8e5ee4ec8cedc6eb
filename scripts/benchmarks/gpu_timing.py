"""What the forms of the GPU benchmark share: sizes, batches, and the seconds of a step."""

import json
import statistics
import time
from pathlib import Path

import numpy as np

VOCABULARY = 30_522
LENGTHS_FILE = Path(__file__).resolve().parent / "shared" / "sst2_lengths.json"
TINY = (2, 64, 2, 128)
SIZES = {"base": (12, 768, 12, 3_072), "large": (24, 1_024, 16, 4_096)}
FINE_TUNING_ROWS, MAX_LENGTH = 32, 128


def size_of(request):
    """(layers, width, heads, width of the feed-forward nets)."""
    return TINY if request["tiny"] else SIZES[request["size"]]


def shape_of(request):
    """(rows, tokens, predictions) of a step."""
    if request["tiny"]:
        return 4, 16, 3
    return request["rows"], request["length"], request["predictions"]


def random_batch(rows, length, predictions):
    """(inputs, masked positions, their ids, next-sentence labels), without padding."""
    random = np.random.default_rng(0)
    ids = random.integers(5, VOCABULARY, (rows, length)).astype("int32")
    places = random.permuted(np.tile(np.arange(length), (rows, 1)), axis=1)[:, :predictions]
    inputs = {
        "token_ids": ids,
        "segment_ids": (np.arange(length) >= length // 2).astype("int32") + 0 * ids,
        "padding_mask": np.ones_like(ids),
    }
    targets = random.integers(5, VOCABULARY, places.shape).astype("int32")
    return inputs, np.sort(places).astype("int32"), targets, (ids[:, 0] % 2).astype("int32")


def sst2_lengths():
    """(67349,) tokens of each training sentence of SST-2, [CLS] and [SEP] included, by length."""
    counts = json.loads(LENGTHS_FILE.read_text())["counts"]
    return np.repeat([int(tokens) for tokens in counts], list(counts.values()))


def steps_of(request, few, many):
    """Numbers of steps to be timed."""
    return (1, 3) if request["tiny"] else (few, many)


def seconds_a_step(run, few, many, rounds=3):
    """Seconds of a step, from two numbers of them: what begins and ends a call falls out.

    Args:
        run: Function of a number of steps, which returns when they are computed.

    Returns:
        {"first": seconds of the first call, "seconds": median, "least", "most": of a step}.
    """
    began = time.perf_counter()
    run(few)
    first = time.perf_counter() - began
    found = []
    for _ in range(rounds):
        times = []
        for steps in (few, many):
            began = time.perf_counter()
            run(steps)
            times.append(time.perf_counter() - began)
        found.append((times[1] - times[0]) / (many - few))
    return {
        "first": first,
        "seconds": statistics.median(found),
        "least": min(found),
        "most": max(found),
    }

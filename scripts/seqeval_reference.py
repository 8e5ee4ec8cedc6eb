"""Writes random tags of sentences, right and given ones, and the scores that seqeval gives them.

usage: python scripts/seqeval_reference.py FILE

tests/tasks/tags/seqeval.json is what it wrote with seqeval 1.2.2. In each scheme some tags are
drawn without regard to it, so that there are broken sequences, too.
"""

import json
import sys
from pathlib import Path

import numpy as np

try:
    from seqeval.metrics import classification_report
    from seqeval.metrics.sequence_labeling import get_entities
except ImportError as error:
    print(f"seqeval_reference: {error}: pip install seqeval", file=sys.stderr)
    sys.exit(2)

PREFIXES = {"IOB1": "IIB", "IOB2": "BII", "IOBES": "BIES"}
KINDS = ("person", "place", "a-b")
SENTENCES, LONGEST = 12, 9


def main(path):
    random = np.random.default_rng(0)
    cases = [case(random, prefixes, broken) for prefixes in PREFIXES.values() for broken in (0, 1)]
    Path(path).write_text(json.dumps(cases, separators=(",", ":")) + "\n")


def case(random, prefixes, broken):
    lengths = random.integers(0, LONGEST, SENTENCES)
    right = [tags(random, prefixes, length, broken) for length in lengths]
    given = [[changed(random, prefixes, tag) for tag in sentence] for sentence in right]
    report = classification_report(right, given, output_dict=True, zero_division=0)
    per_class = {
        kind: {key.split("-")[0]: float(value) for key, value in row.items()}
        for kind, row in report.items()
        if kind in KINDS
    }
    micro = report["micro avg"]
    return {
        "right": right,
        "given": given,
        "entities": [get_entities(sentence) for sentence in given],
        "micro": [micro["precision"], micro["recall"], micro["f1-score"]],
        "macro_f1": report["macro avg"]["f1-score"],
        "per_class": per_class,
    }


def tags(random, prefixes, length, broken):
    """Entities of one to three words with gaps; of random tags where they are broken."""
    if broken:
        return [changed(random, prefixes, "O", 0.6) for _ in range(length)]
    found = []
    while len(found) < length:
        kind, size = random.choice(KINDS), int(random.integers(1, 4))
        inner = ["I"] * size
        if prefixes[0] == "B":
            inner[0] = "B"
        if "S" in prefixes:
            inner[-1] = "S" if size == 1 else "E"
        found += [f"{prefix}-{kind}" for prefix in inner] + ["O"] * int(random.integers(0, 3))
    return found[:length]


def changed(random, prefixes, tag, share=0.2):
    if random.random() > share:
        return tag
    return f"{random.choice(list(prefixes))}-{random.choice(KINDS)}"


if __name__ == "__main__":
    main(*sys.argv[1:])

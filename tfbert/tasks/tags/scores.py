"""Scores of tags word by word, where they are not those of entities."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any


def tag_scores(given: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Scores of the tags of all words, by scikit-learn.

    Args:
        given: The model's tags of each sentence.
        right: Those of the data; as many a sentence.

    Returns:
        A dict of `accuracy`, `macro_f1` over the tags, `examples`, the number of sentences, and
        `per_class`: by tag `precision`, `recall`, `f1`, `examples`.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    flat = [list(itertools.chain.from_iterable(tags)) for tags in (right, given)]
    tags = sorted({*flat[0], *flat[1]})
    rows = zip(*precision_recall_fscore_support(*flat, labels=tags, zero_division=0), strict=True)
    per_class = {
        tag: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "examples": int(examples),
        }
        for tag, (precision, recall, f1, examples) in zip(tags, rows, strict=True)
    }
    f1 = [row["f1"] for row in per_class.values()]
    return {
        "accuracy": float(accuracy_score(*flat)) if flat[0] else 0.0,
        "macro_f1": sum(f1) / len(f1) if f1 else 0.0,
        "examples": len(right),
        "per_class": per_class,
    }

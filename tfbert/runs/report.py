"""A classifier's numbers: computed in float64, printed for people or for programs."""

import json

import numpy as np


def classification_metrics(logits, label_ids, labels):
    """Metrics of a classifier.

    Args:
        logits: (examples, classes).
        label_ids: (examples,) int, the right class of each.
        labels: Names of the classes.

    Returns:
        A dict of `accuracy`, `macro_f1`, `loss` (mean cross-entropy in nats), `examples`, and
        `per_class`: by label `precision`, `recall`, `f1` and `examples`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    logits = np.asarray(logits, np.float64)
    predictions = logits.argmax(-1)
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    loss = -log_probabilities[np.arange(len(logits)), label_ids].mean()
    classes = range(len(labels))
    rows = precision_recall_fscore_support(label_ids, predictions, labels=classes, zero_division=0)
    names = ("precision", "recall", "f1")
    return {
        "accuracy": float((predictions == label_ids).mean()),
        "macro_f1": float(rows[2].mean()),
        "loss": float(loss),
        "examples": len(logits),
        "per_class": {
            label: {
                **{name: float(row[i]) for name, row in zip(names, rows, strict=False)},
                "examples": int(rows[3][i]),
            }
            for i, label in enumerate(labels)
        },
    }


def metrics_table(metrics):
    """The metrics as lines of text."""
    per_class = metrics["per_class"]
    width = max(len(label) for label in (*per_class, "accuracy"))
    lines = [
        f"{metrics['examples']} examples: accuracy {metrics['accuracy']:.4f}, "
        f"macro F1 {metrics['macro_f1']:.4f}, loss {metrics['loss']:.4f}",
        f"{'':{width}}  precision  recall      F1  examples",
    ]
    for label, row in per_class.items():
        lines.append(
            f"{label:{width}}  {row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}  "
            f"{row['examples']:8d}"
        )
    return "\n".join(lines)


def metrics_json(metrics):
    """The metrics as one JSON object on one line."""
    return json.dumps(metrics)

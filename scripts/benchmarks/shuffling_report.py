"""The page on the accuracy by kinds of batches, out of what `sentiment.py` has measured."""

from intervals import apart, in_words
from sentiment_rows import SHUFFLING

SHUFFLING_HEADER = """# Batches by length against uniform shuffling

Written by `python scripts/benchmarks/sentiment.py --data DATA --shuffling`: the same model, Adam at
a constant rate, the same number of examples a batch; a budget of tokens has about as many on
average. The difference is that of the means to uniform shuffling over the seeds that both have,
with its 95 % interval (by Welch's t).
"""


def shuffling_table(rows, title, machine):
    """The table of one task, from `{key: Measured}`, or None where nothing was measured."""
    rows = {key: row for key, row in rows.items() if row.curves}
    if "uniform" not in rows:
        return None
    seeds = sorted({seed for row in rows.values() for seed in row.curves})
    lines = [f"## {title}", ""]
    lines += [f"| batches | {' | '.join(f'seed {s}' for s in seeds)} | mean | difference |"]
    lines += ["|" + "---|" * (len(seeds) + 3)]
    for key, row in rows.items():
        name = "by length" if key == "adam" else SHUFFLING[key].title
        values = [f"{row.curves[s][-1][1]:.4f}" if s in row.curves else "-" for s in seeds]
        common = sorted(row.curves.keys() & rows["uniform"].curves.keys())
        difference = "-"
        if key != "uniform" and common:
            pairs = [(row.curves[s][-1][1], rows["uniform"].curves[s][-1][1]) for s in common]
            difference = apart(*zip(*pairs, strict=True))
        mean = in_words(row.accuracies)
        lines.append(f"| {name} | {' | '.join(values)} | {mean} | {difference} |")
    return "\n".join([*lines, "", f"Machine: {machine}."]) + "\n"

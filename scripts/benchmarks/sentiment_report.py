"""Tables and picture out of what `sentiment.py` has measured."""

import statistics
from typing import NamedTuple

from sentiment_measures import PREDICT_BATCH, UPDATES_BEFORE
from sentiment_rows import LADDER, SHUFFLING
from shared.intervals import CONFIDENCE, apart, in_times, in_words, interval, mean_ratio
from shared.page import reached, save_figure, table, write_page

from tfbert.errors import InputError
from tfbert.io.whole import read_json

# By what `--precision auto` takes, the row and the task, in times stock.
TIMES_TO_REACH = {
    "bfloat16": {
        "words": {"sst2": 10.0, "imdb": 2.5, "movie_reviews": 2.2},
        "lamb": {"sst2": 20.0},
    },
    "float32": {
        "words": {"sst2": 9.0, "imdb": 1.9, "movie_reviews": 1.8},
        "lamb": {"sst2": 13.0},
    },
}
PREDICT_TIMES_TO_REACH = 15.0
PIPELINE_TIMES_TO_REACH = 10.0
NAMES = {"sst2": "SST-2", "imdb": "IMDB", "movie_reviews": "movie_reviews"}
ALL_STEPS = "words"  # the row judged, fixed beforehand: every step at stock's batch
HEADER = """# Sentiment classifiers, faster step by step

Written by `python scripts/benchmarks/sentiment.py --data DATA` and its options. Each row has all
steps above it. Examples a second: rows take turns, a few steps at a time; what was measured, padded
tokens a second, is divided by the padded tokens of an example over a whole epoch, so that a few
batches of short texts are no advantage. A row without cached tokens pays for tokenizing. Times
stock: the geometric mean over the turns, each against stock's own, and in brackets its 95 %
interval (Student's t of the logarithms). Accuracy: mean over the seeds (± standard deviation) after
the last epoch. Time to the stock run's accuracy: the examples until a row's evaluation, made a few
times an epoch, first reaches the lower end of the 95 % interval of stock's mean accuracy (with one
seed, its accuracy), over its examples a second; the median over seeds, without the time of
evaluations and of reading cached tokens. With it goes what came before the turns: loading the model
and, of each padded length when it is first met, graphs, programs and a step.
Stock is KerasHub's `TextClassifier` with its preprocessor; for its accuracy it is trained on
batches padded to their longest text, which gives the same logits up to rounding.
"""

SHUFFLING_HEADER = """# Batches by length against uniform shuffling

Written by `python scripts/benchmarks/sentiment.py --data DATA --shuffling`: the same model, Adam at
a constant rate, the same number of examples a batch; a budget of tokens has about as many on
average. The difference is that of the means to uniform shuffling over the seeds that both have,
with its 95 % interval (by Welch's t).
"""


class Measured(NamedTuple):
    """What there is of one row; None where nothing was measured.

    Args:
        speed: Examples a second, at the padding of a whole epoch.
        padding: Share of the tokens that is padding.
        curves: By seed, list of (examples, accuracy).
        turns: By turn, examples a second.
        building: Seconds before the turns: the model, and graphs and programs of each length.
    """

    speed: float | None
    padding: float | None
    curves: dict
    turns: dict
    building: float

    @property
    def accuracies(self):
        """At the end of training, by seed."""
        return [curve[-1][1] for curve in self.curves.values()]

    def seconds_to(self, accuracy):
        """Median over the seeds; None where most of them do not get there."""
        if not self.curves or self.speed is None:
            return None
        never = float("inf")
        examples = [
            next((seen for seen, reached in curve if reached >= accuracy), never)
            for curve in self.curves.values()
        ]
        middle = statistics.median(examples)
        return None if middle == never else self.building + middle / self.speed

    def times(self, stock):
        """How many times faster than another row: as `mean_ratio`; of totals without a turn."""
        ratios = [
            speed / stock.turns[turn] for turn, speed in self.turns.items() if turn in stock.turns
        ]
        if self is stock or not ratios:
            return self.speed / stock.speed, None
        return mean_ratio(ratios)


def read_rows(folder, rows):
    """{key: Measured} of a results folder."""
    padded_tokens = read_json(folder / "setting.json")["padded_tokens"]
    measured = {}
    for key, row in rows.items():
        parts = cells_of(folder, f"speed-{key}-")
        padded, tokens, seconds, building = (
            sum(part.get(name, 0.0) for part in parts.values())
            for name in ("padded", "tokens", "seconds", "building")
        )
        curves = cells_of(folder, row.accuracy_cells(key))
        measured[key] = Measured(
            padded / seconds / padded_tokens[key] if parts else None,
            1 - tokens / padded if parts else None,
            {seed: cell["curve"] for seed, cell in curves.items()},
            {
                turn: part["padded"] / part["seconds"] / padded_tokens[key]
                for turn, part in parts.items()
            },
            building,
        )
    return measured


def cells_of(folder, beginning):
    """{the rest of its name: content} of the cells whose names begin like that."""
    paths = sorted(folder.glob(f"{beginning}*.json"))
    return {path.stem.removeprefix(beginning): read_json(path) for path in paths}


def write_report(results, docs):
    """Writes benchmark_sentiment.md and .png, and benchmark_shuffling.md where it was measured.

    Raises:
        InputError: If nothing was measured.
    """
    folders = sorted({path.parent for path in results.glob("*/*.json") if path.stem != "setting"})
    if not folders:
        raise InputError(f"{results}: there are no measurements in it")
    docs.mkdir(parents=True, exist_ok=True)
    settings = {folder: read_json(folder / "setting.json") for folder in folders}
    sections = [section(folder, setting) for folder, setting in settings.items()]
    ladders = [(title(s), read_rows(folder, LADDER)) for folder, s in settings.items()]
    drawn = [(name, rows) for name, rows in ladders if any(r.speed for r in rows.values())]
    picture = []
    if drawn:
        draw(drawn, docs / "benchmark_sentiment.png")
        picture = ["![Examples a second, step by step](benchmark_sentiment.png)\n"]
    write_page(docs / "benchmark_sentiment.md", "\n".join([HEADER, *picture, *sections]))
    tables = [
        shuffling_table(read_rows(folder, SHUFFLING), title(setting), setting["machine"])
        for folder, setting in settings.items()
    ]
    if any(tables):
        text = "\n".join([SHUFFLING_HEADER, *filter(None, tables)])
        write_page(docs / "benchmark_shuffling.md", text)


def title(setting):
    name = NAMES.get(setting["task"], setting["task"])
    epochs = f"{setting['epochs']} epoch" + "s" * (setting["epochs"] > 1)
    examples = f"{epochs} of {setting['training_examples']:,} examples"
    return f"{name}, {setting['model']}, {examples} of at most {setting['max_length']} tokens"


def section(folder, setting):
    """One task: the ladder, predictions, the input pipeline."""
    rows = read_rows(folder, LADDER)
    lines = [f"## {title(setting)}", "", about(setting, rows["mixed"].speed, commits(folder)), ""]
    lines += ladder_table(rows) if any(r.speed or r.curves for r in rows.values()) else []
    lines += verdicts(rows, setting) + padding_lines(folder)
    lines += predict_table(folder) + pipeline_table(folder, rows)
    return "\n".join(lines) + "\n"


def commits(folder):
    """In words: those that the numbers in a folder were measured at, as far as it is known."""
    found = {read_json(path).get("commit") for path in folder.glob("*-*.json")}
    return ", ".join(sorted(commit or "older ones" for commit in found))


def about(setting, mixed, commits):
    """What was trained on what; `mixed` is whether mixed precision was measured."""
    note = (
        "From batches by length on the precision is what `--precision auto` takes on this "
        f"machine, {setting['auto']}."
    )
    if setting["auto"] == "float32" and not mixed:
        note += (
            " It has no bfloat16 instructions, so that mixed precision is no step of its ladder."
        )
    return (
        f"{setting['training_examples']:,} training and {setting['evaluation_examples']:,} "
        f"evaluation examples of {setting['mean_tokens']:.0f} tokens on average, batches of "
        f"{setting['batch_size']}, Adam at {setting['learning_rate']:g} but for LAMB. {note} "
        f"Machine: {setting['machine']}; commits: {commits}."
    )


def ladder_table(rows):
    """The rows in their order: speed, accuracy, and the time to stock's accuracy."""
    stock = rows["stock"]
    target = None
    if stock.curves:
        target = interval(stock.accuracies)[0] if len(stock.curves) > 1 else stock.accuracies[0]
    cells = []
    for key, row in rows.items():
        if row.speed is None and not row.curves:
            continue
        minutes = "-"
        if row.curves and row.speed and target is not None:
            seconds = row.seconds_to(target)
            minutes = "not reached" if seconds is None else f"{seconds / 60:.1f}"
        times = in_times(*row.times(stock)) if row.speed and stock.speed else "-"
        speed = (
            [f"{row.speed:.1f}", times, f"{100 * row.padding:.0f} %"] if row.speed else ["-"] * 3
        )
        cells.append([LADDER[key].title, *speed, in_words(row.accuracies), minutes])
    heads = ["", "examples/s", "times stock", "padding", "accuracy"]
    return [*table([*heads, "minutes to stock's accuracy"], cells), ""]


def verdicts(rows, setting):
    """What was to be reached, and what was."""
    lines, stock = [], rows["stock"]
    for key, words in ((ALL_STEPS, "All steps at stock's batch"), ("lamb", "A larger batch")):
        if not (stock.speed and rows[key].speed):
            continue
        asked = TIMES_TO_REACH[setting["auto"]][key].get(setting["task"])
        times, around = rows[key].times(stock)
        text = f"{words}, *{LADDER[key].title}*: {in_times(times, around)} times stock"
        if asked:
            text += f"; {asked:g} asked, {reached(times >= asked)}"
            if around and around[0] < asked <= around[1]:
                text += ", though the interval leaves it open"
        lines.append(text + ".")
    if len(stock.curves) > 1:
        low, high = interval(stock.accuracies)
        lines.append(
            f"{100 * CONFIDENCE:.0f} % interval of stock's mean accuracy over "
            f"{len(stock.curves)} seeds (Student's t): {low:.4f} to {high:.4f}."
        )
        for key, row in rows.items():
            if key != "stock" and row.curves and LADDER[key].trained_as is None:
                mean = statistics.mean(row.accuracies)
                place = "within" if low <= mean <= high else ("above" if mean > high else "below")
                difference = apart(row.accuracies, stock.accuracies)
                lines.append(
                    f"*{LADDER[key].title}*: {mean:.4f}, {place}; difference {difference}, by "
                    "Welch's t."
                )
    return [*lines, ""] if lines else []


def padding_lines(folder):
    path = folder / "padding.json"
    if not path.exists():
        return []
    cell = read_json(path)
    return [
        f"Stock's logits of {cell['texts']} evaluation texts, after {cell['updates']} updates, "
        "padded to the limit and to the longest of a batch: largest difference "
        f"{cell['difference']:.1e}, largest logit {cell['logit']:.2f}.",
        "",
    ]


def predict_table(folder):
    """`predict` of stock and ours; of several tries, the one with the most sentences."""
    found = cells_of(folder, "predict-")
    if not found:
        return []
    count = max(int(name.split("-")[0]) for name in found)
    parts = [cell["forms"] for name, cell in found.items() if name.startswith(f"{count}-")]
    rows = []
    for name in dict.fromkeys(name for part in parts for name in part):
        pairs = [(part["stock"], part[name]) for part in parts if name in part]
        cells = [cell for _, cell in pairs]
        speed = sum(c["examples"] for c in cells) / sum(c["seconds"] for c in cells)
        ratios = [stock["seconds"] / cell["seconds"] for stock, cell in pairs]
        times = "1.00" if name == "stock" else in_times(*mean_ratio(ratios))
        difference = max(cell.get("difference", 0.0) for cell in cells)
        changed = sum(cell.get("changed", 0) for cell in cells)
        rows.append([name, f"{speed:.1f}", times, f"{difference:.1e}", changed])
    count = sum(part["stock"]["examples"] for part in parts)
    heads = ["", "sentences/s", "times stock", "largest difference in a probability"]
    return [
        f"`predict` on {count:,} training sentences, from text to answers, batches of "
        f"{PREDICT_BATCH}, by a model after at most {UPDATES_BEFORE} updates; "
        f"{PREDICT_TIMES_TO_REACH:g} times stock asked:",
        "",
        *table([*heads, "other labels"], rows),
        "",
    ]


def pipeline_table(folder, rows):
    path = folder / "pipeline.json"
    if not path.exists():
        return []
    cell = read_json(path)
    examples, seconds = cell["examples"], cell["seconds"]
    training = max((row.speed for row in rows.values() if row.speed), default=None)
    make = seconds["make batches"]
    chains = {
        "first run: tokenize, cache, make batches": seconds["tokenize and write the cache"] + make,
        "next run: read the cache, make batches": seconds["read the cache"] + make,
        "tokenize alone": seconds["tokenize"],
        "make batches alone": make,
    }
    rows = [
        [
            name,
            f"{examples / taken:,.0f}",
            f"{examples / taken / training:.0f}" if training else "-",
        ]
        for name, taken in chains.items()
    ]
    return [
        f"Input pipeline alone, one pass; {PIPELINE_TIMES_TO_REACH:g} times what the fastest row "
        "takes asked:",
        "",
        *table(["", "examples/s", "times the fastest row"], rows),
        "",
    ]


def draw(ladders, path):
    """A bar a row, a panel a task."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(ladders), squeeze=False, figsize=(10, 0.9 + 3.0 * len(ladders)), layout="constrained"
    )
    for panel, (name, rows) in zip(panels[:, 0], ladders, strict=True):
        shown = {key: row for key, row in rows.items() if row.speed}
        stock = rows["stock"].speed
        colors = ["#8a8f98" if key == "stock" else "#2f6fb3" for key in shown]
        titles = [LADDER[key].title for key in shown]
        bars = panel.barh(titles, [row.speed for row in shown.values()], color=colors)
        notes = []
        for row in shown.values():
            note = f"{row.speed:.3g}"
            note += f"  ({row.times(rows['stock'])[0]:.2f} x)" if stock else ""
            note += f"  accuracy {statistics.mean(row.accuracies):.3f}" if row.curves else ""
            notes.append(note)
        panel.bar_label(bars, notes, padding=4, fontsize=9)
        panel.invert_yaxis()
        panel.margins(x=0.55)
        panel.set_title(name, loc="right", fontsize=11)
        panel.set_xlabel("examples a second in training")
        panel.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def shuffling_table(rows, title, machine):
    """The table of one task, from `{key: Measured}`, or None where nothing was measured."""
    rows = {key: row for key, row in rows.items() if row.curves}
    if "uniform" not in rows:
        return None
    uniform = rows["uniform"].curves
    seeds = sorted({seed for row in rows.values() for seed in row.curves})
    cells = []
    for key, row in rows.items():
        name = "by length" if key == "adam" else SHUFFLING[key].title
        values = [f"{row.curves[s][-1][1]:.4f}" if s in row.curves else "-" for s in seeds]
        common = sorted(row.curves.keys() & uniform.keys())
        difference = "-"
        if key != "uniform" and common:
            difference = apart(*([c[s][-1][1] for s in common] for c in (row.curves, uniform)))
        cells.append([name, *values, in_words(row.accuracies), difference])
    heads = ["batches", *(f"seed {seed}" for seed in seeds), "mean", "difference"]
    return "\n".join([f"## {title}", "", *table(heads, cells), "", f"Machine: {machine}."]) + "\n"

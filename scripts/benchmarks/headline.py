"""The README's picture: one change after another, with intervals; writes docs/headline.png.

    python scripts/benchmarks/headline.py DATA [--draw] [--tiny]

DATA is laid out as shared/data: it holds glue/SST-2 and minilm. On 2 CPU cores that do nothing
else it takes some 13 minutes. Every number is a JSON file in docs/headline/ and is not measured
again, so that an interrupted run goes on where it was; --draw measures nothing and draws what is
there.

Speed: rows take turns, a few steps each; an interval is that of the mean over the turns (Student's
t of the logarithms). What is measured is padded tokens a second, divided by the padded tokens of an
example over a whole epoch. Accuracy: the mean over three seeds; its interval is that of another
choice of evaluation sentences and that of other seeds together. All rows train on the same 1,920
sentences; the rate of LAMB was chosen on training sentences that were held out.
"""

import dataclasses
import math
import os
import platform
import statistics
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from sentiment_measures import Speed, train
from sentiment_report import cells_of
from sentiment_rows import LADDER, Row, Setting, padded_tokens
from shared.cells import Cells
from shared.intervals import half_width, mean_ratio
from shared.machine import cores, versions
from shared.page import DOCS, REPOSITORY, fail, make_parser, require, save_figure
from shared.turns import in_turns

from tfbert.errors import InputError
from tfbert.hardware.precision import choose_precision
from tfbert.io.whole import read_json

SEEDS = (1, 2, 3)
TURNS, STEPS = 3, 7
ROWS = {
    "stock": Row(
        "KerasHub: float32,\nevery text padded to 128", "fixed", "stock", "float32", False
    ),
    "mixed": Row("KerasHub: bfloat16", "fixed", "stock", "bfloat16", False),
    "tfbert": dataclasses.replace(LADDER["words"], title="tfbert: batches by length,\nAdamW"),
    "lamb": Row("tfbert: 4 times larger batch,\nLAMB", optimizer="lamb", lamb_rate=4e-3),
}


class Headline(Setting):
    """SST-2 at a rate that small models learn with in few updates."""

    @property
    def learning_rate(self):
        return 2e-4


def main():
    parser = make_parser(__doc__, tiny="the embedded model on a few sentences, in runs/headline")
    parser.add_argument("data", nargs="?", help="folder with glue/SST-2 and minilm")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    options = parser.parse_args()
    require("matplotlib")
    docs = REPOSITORY / "runs" if options.tiny else DOCS
    cells = Cells(docs / "headline")
    try:
        if not options.draw:
            measure(cells, setting_of(options), 1 if options.tiny else STEPS)
        draw(cells.folder, docs / "headline.png")
    except InputError as error:
        fail(error)
    except KeyboardInterrupt:
        print("headline.py: stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None


def setting_of(options):
    if options.tiny:
        return Headline("embedded", None, "embedded", 4, 32, epochs=1, points=1, limit=32)
    if options.data is None:
        raise InputError("name the folder with the data, or --draw")
    data = os.path.join(options.data, "glue", "SST-2")
    model = os.path.join(options.data, "minilm")
    return Headline("sst2", data, model, 32, 128, epochs=1, points=1, train_limit=1920)


def measure(cells, setting, steps):
    """Speeds in turns, then accuracies by seed."""
    is_slow = choose_precision("auto") == "float32"  # in bfloat16
    rows = {key: row for key, row in ROWS.items() if not (is_slow and key == "mixed")}
    cells.require_setting(describe(setting, rows))
    speeds = {key: Speed(row, setting) for key, row in rows.items()}
    for number, (key, speed) in in_turns(list(speeds.items()), TURNS):
        cells.measure(f"speed-{key}-{number}", speed.measure, steps, number)
    for seed in SEEDS:
        for key, row in rows.items():
            cells.measure(f"accuracy-{key}-{seed}", train, row, setting, seed)
            keras.backend.clear_session()


def describe(setting, rows):
    return {
        "padded_tokens": {key: padded_tokens(row, setting) for key, row in rows.items()},
        "evaluation_examples": len(setting.examples[1][0]),
        "training_examples": len(setting.examples[0][0]),
        "precision": choose_precision("auto"),
        "machine": f"{cores()}, Python {platform.python_version()}, "
        + versions("TensorFlow", "Keras", "KerasHub"),
    }


@dataclasses.dataclass(frozen=True)
class Bar:
    """What is drawn of a row.

    Args:
        speeds: Examples a second, by turn.
        accuracies: By seed.
        examples: How many each accuracy was measured on.
    """

    title: str
    speeds: list
    accuracies: list
    examples: int

    @property
    def speed(self):
        """(mean, (low, high)) of the examples a second."""
        return mean_ratio(self.speeds)

    @property
    def accuracy(self):
        """(mean, half of its interval)."""
        mean = statistics.mean(self.accuracies)
        # Agresti and Coull's: not 0 where all answers are right.
        middle = (mean * self.examples + 2) / (self.examples + 4)
        of_sentences = 1.96 * math.sqrt(middle * (1 - middle) / (self.examples + 4))
        return mean, math.hypot(of_sentences, half_width(self.accuracies))

    def times(self, other):
        """How many times faster than another bar, as `mean_ratio`."""
        return mean_ratio([a / b for a, b in zip(self.speeds, other.speeds, strict=True)])


def read_bars(folder):
    if not (folder / "setting.json").exists():
        raise InputError(f"{folder}: nothing was measured yet: run this script without --draw")
    setting = read_json(folder / "setting.json")
    bars = []
    for key, row in ROWS.items():
        if key not in setting["padded_tokens"]:
            continue
        tokens = setting["padded_tokens"][key]
        parts = cells_of(folder, f"speed-{key}-").values()
        seeds = cells_of(folder, f"accuracy-{key}-").values()
        speeds = [part["padded"] / part["seconds"] / tokens for part in parts]
        accuracies = [cell["curve"][-1][1] for cell in seeds]
        if len(speeds) < TURNS or len(accuracies) < len(SEEDS):
            raise InputError(f"{folder}: {key} is not measured to its end: run without --draw")
        bars.append(Bar(row.title, speeds, accuracies, setting["evaluation_examples"]))
    return bars, setting


def verdicts(bars):
    """What stands beside each bar: how many times the first one, or that it brings nothing."""
    found, fastest = [""], bars[0]
    for bar in bars[1:]:
        middle, (low, high) = bar.times(bars[0])
        text = f"{middle:.1f} times ({low:.1f} to {high:.1f})"
        if bar.times(fastest)[1][0] > 1:
            fastest = bar
        else:
            text += ", no gain"
        found.append(text)
    return found


def headline(bars):
    """The one point that the picture makes."""
    best = max(bars, key=lambda bar: bar.speed[0])
    middle, _ = best.times(bars[0])
    (mean, half), (of_first, half_of_first) = best.accuracy, bars[0].accuracy
    alike = abs(mean - of_first) <= math.hypot(half, half_of_first)
    words = (
        "accuracies alike within their intervals"
        if alike
        else f"accuracy {100 * (mean - of_first):+.1f} points"
    )
    return f"{middle:.1f} times the training speed of KerasHub, {words}"


def draw(folder, path):
    from matplotlib import pyplot

    found, setting = read_bars(folder)
    # What is not surely faster than the rows above it has no place in a picture of gains.
    bars = [bar for bar, text in zip(found, verdicts(found), strict=True) if "no gain" not in text]
    figure, (left, right) = pyplot.subplots(
        1, 2, sharey=True, width_ratios=[3, 1], figsize=(9, 1.6 + 0.55 * len(bars))
    )
    rows, texts = range(len(bars)), verdicts(bars)
    colors = ["C7" if number == 0 else "C0" for number in rows]
    means = [bar.speed[0] for bar in bars]
    left.barh(rows, means, color=colors)
    for row, bar in enumerate(bars):
        low, high = bar.speed[1]
        left.plot([low, high], [row, row], color="black", linewidth=1)
        left.text(max(high, bar.speed[0]) + 0.02 * max(means), row, texts[row], va="center")
        mean, half = bar.accuracy
        right.errorbar(100 * mean, row, xerr=100 * half, marker="o", capsize=3, color=colors[row])
    left.set_yticks(rows, [bar.title for bar in bars])
    left.invert_yaxis()
    left.set(
        xlabel="training sentences a second", xlim=(0, 1.5 * max(bar.speed[1][1] for bar in bars))
    )
    right.set(xlabel="accuracy, %")
    for axes in (left, right):
        axes.grid(alpha=0.3, axis="x")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(headline(bars))
    cores_of = setting["machine"].split(",")[0]
    figure.supxlabel(
        f"MiniLM fine-tuned on {setting['training_examples']:,} sentences of SST-2, {cores_of}; "
        "three seeds, 95 % intervals",
        fontsize="small",
    )
    figure.tight_layout()
    save_figure(figure, path)
    print(headline(bars))
    for bar, text in zip(found, verdicts(found), strict=True):
        mean, half = bar.accuracy
        speed = bar.speed[0]
        name = bar.title.replace("\n", " ")
        print(
            f"{name}: {speed:.1f} examples/s {text}; accuracy {100 * mean:.1f} ± {100 * half:.1f}"
        )


if __name__ == "__main__":
    main()

"""The notebooks' pictures; each function draws on new axes and returns them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Rectangle

from tfbert.notebook.trials import NAMES, Trial, chosen

if TYPE_CHECKING:
    from tfbert.notebook.calibration import Reliability
    from tfbert.notebook.explanation import Explanation
    from tfbert.notebook.ladder import Step
    from tfbert.optimizers.trust_ratio import TrustRatio
    from tfbert.runs.outputs.curves import Point


def draw_lengths(lengths: np.ndarray, max_length: int) -> Axes:
    """How many texts have how many tokens, and where they are cut.

    Args:
        lengths: (texts,) tokens of each text, uncut.
        max_length: Where texts are cut.
    """
    axes = _axes("tokens of a text", "texts", (7, 3))
    longest = int(np.max(lengths))
    edges = np.arange(longest + 2, step=-(-longest // 60)) - 0.5
    axes.hist(lengths, bins=edges.tolist(), color="C0")
    axes.axvline(max_length, color="C3", label=f"padded to, or cut at: {max_length}")
    axes.axvline(np.mean(lengths), color="C1", label=f"mean: {np.mean(lengths):.0f}")
    axes.legend()
    return axes


def draw_ladder(steps: Sequence[Step], title: str = "") -> Axes:
    """A bar for the speed of each `Step`, and beside it its accuracy with the 95 % interval.

    Steps that are not faster than the fastest one before them are grey.

    Returns:
        The axes of the bars; those of the accuracies are the figure's second.
    """
    size = (9, 1.2 + 0.5 * len(steps))
    figure, (bars, dots) = plt.subplots(
        1, 2, sharey=True, width_ratios=[3, 2], figsize=size, layout="constrained"
    )
    _plain(bars, "examples a second", "")
    _plain(dots, "accuracy, % (95 % interval)", "")
    figure.suptitle(title)
    names = [step.title for step in steps]
    colors = ["C0" if step.helps else "C7" for step in steps]
    drawn = bars.barh(names, [step.speed for step in steps], color=colors)
    bars.bar_label(drawn, [f"{step.speed_up:.1f} x" for step in steps], padding=4)
    bars.set_xlim(right=1.15 * max(step.speed for step in steps))
    bars.invert_yaxis()
    bars.grid(visible=False, axis="y")
    low, high = steps[0].interval
    dots.axvspan(100 * low, 100 * high, color="C0", alpha=0.12, linewidth=0)
    for row, (step, color) in enumerate(zip(steps, colors, strict=True)):
        low, high = step.interval
        dots.plot([100 * low, 100 * high], [row, row], color=color)
        dots.plot([100 * step.accuracy], [row], marker="o", color=color)
    dots.grid(visible=False, axis="y")
    return bars


def draw_reliability(curves: dict[str, Reliability]) -> Axes:
    """How often answers are right, by the probability that they state.

    Args:
        curves: By name; the area of a point is its number of answers.
    """
    axes = _axes("stated probability of the answer", "share of right answers", (6, 5))
    axes.plot([0, 1], [0, 1], color="C7", linestyle="--", label="as sure as right")
    for name, curve in curves.items():
        label = f"{name}: calibration error {100 * curve.error:.1f} points"
        (line,) = axes.plot(curve.confidence, curve.accuracy, alpha=0.6, label=label)
        areas = 300 * curve.answers / curve.answers.sum() + 8
        axes.scatter(curve.confidence, curve.accuracy, areas, color=line.get_color())
    lowest = min(min(curve.confidence.min(), curve.accuracy.min()) for curve in curves.values())
    axes.set(xlim=(lowest - 0.03, 1.02), ylim=(lowest - 0.03, 1.02))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12))  # off the points
    return axes


_LINE = 60  # characters


def draw_explanations(explanations: Sequence[Explanation]) -> Axes:
    """Texts whose words are coloured by what they do for the answer: red for it, blue against."""
    rows: list[list[tuple[float, str, float]]] = []  # of each line: (where, word, effect)
    heads: dict[int, str] = {}
    for each in explanations:
        heads[len(rows)] = f"{each.label}, {each.probability:.2f}"
        rows.append([])
        at = 0.0
        for word, effect in zip(each.words, each.effects, strict=True):
            if at + len(word) > _LINE and rows[-1]:
                rows.append([])
                at = 0.0
            rows[-1].append((at, word, effect))
            at += len(word) + 1
    axes = _axes("", "", (10, 0.8 + 0.42 * len(rows)))
    largest = max(float(abs(each.effects).max(initial=0.01)) for each in explanations)
    scale = Normalize(-100 * largest, 100 * largest)
    for number, row in enumerate(rows):
        axes.text(-1.5, number, heads.get(number, ""), ha="right", va="center")
        for at, word, effect in row:
            color = plt.colormaps["RdBu_r"](0.5 + 0.4 * effect / largest)
            axes.add_patch(Rectangle((at - 0.4, number - 0.36), len(word) + 0.8, 0.72, color=color))
            middle = at + len(word) / 2
            ink = "white" if abs(effect) > 0.7 * largest else "black"
            axes.text(
                middle,
                number,
                word,
                color=ink,
                ha="center",
                va="center",
                family="monospace",
                size=10,
            )
    axes.set(xlim=(-16, _LINE + 6), ylim=(len(rows) - 0.4, -0.6), xticks=[], yticks=[])
    axes.spines[["bottom", "left"]].set_visible(False)
    colors = plt.colormaps["RdBu_r"].resampled(256)(np.linspace(0.1, 0.9, 256))
    axes.figure.colorbar(
        ScalarMappable(scale, ListedColormap(colors)),
        ax=axes,
        orientation="horizontal",
        label="fall of the answer's probability without the word (percentage points)",
        fraction=0.06,
        aspect=60,
    )
    return axes


def draw_curves(curves: dict[str, list[Point]], ylabel: str, over: str = "updates") -> Axes:
    """A line for each curve.

    Args:
        curves: The points by name.
        ylabel: What the values are.
        over: `updates`, or `minutes` since the first point of training.
    """
    axes = _axes(over, ylabel)
    for name, points in curves.items():
        x = [point.seconds / 60 if over == "minutes" else point.update for point in points]
        axes.plot(x, [point.value for point in points], marker=".", label=name)
    axes.legend()
    return axes


def draw_trials(trials: Sequence[Trial]) -> Axes:
    """The loss by learning rate: a panel for each batch size, a curve for each optimizer.

    Args:
        trials: The loss that rates are chosen by is drawn, the chosen one with a ring around it.

    Returns:
        The axes of the first batch size.
    """
    sizes = sorted({trial.batch_size for trial in trials})
    _, panels = plt.subplots(
        1,
        len(sizes),
        sharey=True,
        squeeze=False,
        figsize=(4.2 * len(sizes), 4),
        layout="constrained",
    )
    best = chosen(trials)
    for axes, size in zip(panels[0], sizes, strict=True):
        _plain(axes, "peak learning rate", "")
        for optimizer in dict.fromkeys(trial.optimizer for trial in trials):
            found = [t for t in trials if (t.optimizer, t.batch_size) == (optimizer, size)]
            found.sort(key=lambda trial: trial.rate)
            rates, losses = [t.rate for t in found], [t.loss for t in found]
            (line,) = axes.plot(rates, losses, marker="o", label=NAMES[optimizer])
            of_best = best[optimizer, size]
            axes.scatter(
                of_best.rate, of_best.loss, 160, facecolors="none", edgecolors=line.get_color()
            )
        axes.set_xscale("log")
        axes.set_title(f"batch {size:,}, {found[0].updates:,} updates", size=10)
    panels[0][0].set_ylabel("held-out masked-token loss (nats)")
    panels[0][0].legend()
    return panels[0][0]


def draw_trust_ratios(ratios: dict[str, TrustRatio]) -> Axes:
    """A point for the trust ratio of each matrix, in a row for its layer.

    Args:
        ratios: What `LAMB.trust_ratios()` returns. Biases and norms, whose ratio is 1, are left
            out.
    """
    rows: list[str] = []
    kinds: dict[str, list[tuple[float, str]]] = {}
    for path, ratio in ratios.items():
        layer, kind = _layer_and_kind(path)
        if layer is None or kind is None:
            continue
        if layer not in rows:
            rows.append(layer)
        kinds.setdefault(kind, []).append((ratio.trust_ratio, layer))
    axes = _axes("trust ratio ||weights|| / ||update||", "", (7, 1 + 0.45 * len(rows)))
    for number, (kind, points) in enumerate(kinds.items()):
        x, layers = zip(*points, strict=True)
        y = [rows.index(layer) for layer in layers]
        axes.scatter(x, y, label=kind, color=f"C{number}", marker="osD^vP*X"[number % 8])
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def _axes(xlabel: str, ylabel: str, size: tuple[float, float] = (7, 4)) -> Axes:
    _, axes = plt.subplots(figsize=size, layout="constrained")
    return _plain(axes, xlabel, ylabel)


def _plain(axes: Axes, xlabel: str, ylabel: str) -> Axes:
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


_EMBEDDING = re.compile(r"(\w+)_embedding/")
_LAYER = re.compile(r"transformer_layer_(\d+)/(?:self_attention_layer/)?(\w+)/kernel")


def _layer_and_kind(path: str) -> tuple[str | None, str | None]:
    """Where a matrix stands and which it is; (None, None) for biases and norms."""
    if path.endswith(("bias", "gamma", "beta")):
        return None, None
    if match := _EMBEDDING.match(path):
        return "embeddings", f"{match[1]} embedding"
    if match := _LAYER.match(path):
        return f"layer {match[1]}", match[2].removesuffix("_dense").replace("_", " ")
    return "heads", path.split("/")[0].replace("_", " ")

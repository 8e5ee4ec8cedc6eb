"""The notebooks' pictures; each function draws on new axes and returns them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

if TYPE_CHECKING:
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


def draw_ladder(steps: Sequence[Step]) -> Axes:
    """A bar for the speed of each `Step`, with its accuracy."""
    axes = _axes("examples a second", "", (7, 0.6 + 0.5 * len(steps)))
    bars = axes.barh([step.title for step in steps], [step.speed for step in steps], color="C0")
    labels = [f"{step.speed_up:.1f} x, accuracy {step.accuracy:.3f}" for step in steps]
    axes.bar_label(bars, labels, padding=4)
    axes.set_xlim(right=1.45 * max(step.speed for step in steps))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
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


def draw_losses(losses: dict[str, dict[int, float]], ylabel: str) -> Axes:
    """The final losses of several optimizers: for each a dictionary of batch sizes and losses."""
    axes = _axes("batch size (sequences an update)", ylabel)
    for name, by_batch in losses.items():
        axes.plot(list(by_batch), list(by_batch.values()), marker="o", label=name)
    sizes = sorted({size for by_batch in losses.values() for size in by_batch})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.legend()
    return axes


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

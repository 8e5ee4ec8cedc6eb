"""Document and picture of the benchmark of staged training."""

import itertools
import json
import statistics

import scipy.stats

from tfbert.files import replacing

MINUTES, TIME_RATIO, SAVED = 12, 1.9, {"stack": 1.33, "mslt": 1.43}
WHOLE = "full depth"


def write_report(results, folder):
    """Writes benchmark_staged_training.{md,json,png} and returns the text."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "benchmark_staged_training"
    text = report(results)
    draw(results, base.with_suffix(".png"))
    for suffix, words in ((".json", json.dumps(results, indent=1) + "\n"), (".md", text)):
        with replacing(base.with_suffix(suffix)) as temporary:
            temporary.write_text(words)
    return text


def draw(results, path):
    """Held-out loss of the fresh seeds against minutes, of the search against operations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(12, 4.8), sharey=True)
    parts = (("confirmed", "fresh seeds", "minutes of training", measured, 60),)
    searched = results["search"][WHOLE].values()
    whole = mean(sum(run["predicted"]) for run in searched) / 100
    parts += (("search", "search, seed", "operations, % of full depth's", predicted, whole),)
    for axes, (part, title, label, costs, unit) in zip(panels, parts, strict=True):
        if not results[part]:
            continue
        for number, (name, runs) in enumerate(results[part].items()):
            for index, run in enumerate(runs.values()):
                spent, losses = zip(*curve(run, costs(run)), strict=True)
                colour = pyplot.cm.tab20(2 * number % 20 + number // 10)
                spent = [cost / unit for cost in spent]
                axes.plot(spent, losses, color=colour, label=None if index else name)
        axes.set(xlabel=label, title=f"{title} {seeds_of(results[part])}")
        axes.legend(fontsize="small")
    panels[0].set_ylabel("held-out masked-LM loss")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def report(results):
    """The document."""
    settings, recipe = results["settings"], results["settings"]["recipe"]
    phase = recipe["phases"][0]
    tune = settings["fine_tuning"]
    lines = [
        "# Benchmark: staged training",
        "",
        "Written by `python scripts/benchmarks/staged_training.py DATA`"
        + (" `--quick`: tiny models, to try the script." if settings["quick"] else "."),
        f"{recipe['num_layers']} layers of the size `{recipe['size']}`, {phase['steps']:,} updates "
        f"of {phase['global_batch_size']} x {phase['sequence_length']} tokens; "
        f"{settings['machine']}. Seconds are those of training, without compilation and "
        "evaluations; the loss is that of masked tokens of held-out text.",
        "",
        f"Asked: full depth at most {MINUTES} minutes; MSLT at most 1/{TIME_RATIO} of its time at "
        f"equal updates; to full depth's final loss MSLT at most 1/{SAVED['mslt']} and stacking "
        f"at most 1/{SAVED['stack']}.",
        "",
        "![held-out loss against time](benchmark_staged_training.png)",
        "",
    ]
    if results["confirmed"]:
        lines += [
            f"## On fresh seeds ({seeds_of(results['confirmed'])})",
            "",
            *fresh(results["confirmed"], results["words"]),
            "",
            f"SST-2: accuracy on dev after {tune['labels']:,} labels, mean over "
            f"{len(tune['seeds'])} fine-tunings a model, and the difference to full depth, with "
            "the 95 % interval over the pre-training seeds.",
            "",
            *stages_beside_the_cost_model(results["confirmed"]),
            "",
        ]
    lines += [
        f"## The search (seed {seeds_of(results['search'])})",
        "",
        "In operations by the cost model instead of seconds, so that it can be repeated beside "
        "other work.",
        "",
        *searched(results["search"], results["words"]),
    ]
    if results["memory"]:
        whole = results["memory"][WHOLE]
        lines += ["", "## Peak memory of MSLT's stages, above that of the imports", ""]
        lines += [
            f"- {name}: {peak / 1e6:,.0f} MB, {peak / whole:.2f} of full depth"
            for name, peak in results["memory"].items()
        ]
    return "\n".join(lines) + "\n"


def seeds_of(variants):
    return ", ".join(variants[WHOLE])


def fresh(variants, words):
    """Table of the variants beside full depth: means over the seeds, compared seed by seed."""
    heads = ["variant", "options", "seeds", "seconds", "times faster", "with start and evaluations"]
    heads += ["final loss", "difference", "loss at full depth's end"]
    heads += ["times faster to full depth's final loss", "SST-2, difference"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, runs in variants.items():
        pairs = pairs_of(runs, variants)
        wall = mean(whole["command_seconds"] / run["command_seconds"] for run, whole in pairs)
        seconds = mean(sum(measured(run)) for run, _ in pairs)
        faster, final, *losses = compared(pairs, measured)
        apart = mean(run["losses"][-1][1] - whole["losses"][-1][1] for run, whole in pairs)
        cells = [name, options(words[name]), ", ".join(runs), f"{seconds:.0f}", faster]
        cells += [f"{wall:.2f}", final, f"{apart:+.3f}", *losses]
        lines.append(f"| {' | '.join([*cells, transfer(pairs)])} |")
    return lines


def searched(variants, words):
    """Table of what was tried: as in `fresh`, in operations of the cost model for seconds."""
    heads = ["variant", "options", "times fewer operations", "final loss"]
    heads += ["loss at full depth's operations", "times fewer to full depth's final loss"]
    lines = [f"| {' | '.join(heads)} |", "|---" * 6 + "|"]
    for name, runs in variants.items():
        pairs = pairs_of(runs, variants)
        cells = [name, options(words[name]), *compared(pairs, predicted)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def pairs_of(runs, variants):
    """Pairs of (run, full depth's run of that seed)."""
    return [(run, variants[WHOLE][seed]) for seed, run in runs.items() if seed in variants[WHOLE]]


def options(words):
    return f"`{words}`" if words else ""


def compared(pairs, costs):
    """Cells about pairs of (run, full depth's run of that seed).

    Times cheaper at equal updates, final loss, loss for full depth's cost, times cheaper to full
    depth's final loss.
    """
    cheaper = mean(sum(costs(whole)) / sum(costs(run)) for run, whole in pairs)
    at_end, ratios = [], []
    for run, whole in pairs:
        own, (end, target) = curve(run, costs(run)), curve(whole, costs(whole))[-1]
        at_end.append(loss_at(own, end))
        reached = cost_of(own, target)
        ratios.append(None if reached is None else end / reached)
    each = ", ".join("never" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
    if len(ratios) > 1 and None not in ratios:
        each = f"{mean(ratios):.2f} ({each})"
    final = mean(run["losses"][-1][1] for run, _ in pairs)
    there = "none yet" if None in at_end else f"{mean(at_end):.3f}"
    return f"{cheaper:.2f}", f"{final:.3f}", there, each


def transfer(pairs):
    """Mean accuracy and its difference to full depth, with a 95 % interval over the seeds.

    The unit is the pre-training: fine-tunings of one model are no independent comparisons.
    """
    pairs = [pair for pair in pairs if all(run["sst2"] for run in pair)]
    if not pairs:
        return "not yet"
    differences = [mean(run["sst2"]) - mean(whole["sst2"]) for run, whole in pairs]
    text = f"{mean(mean(run['sst2']) for run, _ in pairs):.4f}, {mean(differences):+.4f}"
    if len(differences) < 2:
        return text
    student = float(scipy.stats.t.ppf(0.975, len(differences) - 1))
    return f"{text} ± {student * statistics.stdev(differences) / len(differences) ** 0.5:.4f}"


def stages_beside_the_cost_model(variants):
    """Section of measured seconds beside what the cost model makes of full depth's speed."""
    lines = [
        "## Stages and the cost model, at the speed of full depth on the same seeds",
        "",
        "| variant | stage | layers | frozen | updates | predicted s | measured s | off |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in variants.items():
        whole = [whole for _, whole in pairs_of(runs, variants)]
        speed = mean(sum(predicted(run)) / sum(measured(run)) for run in whole)
        for number, stage in enumerate(next(iter(runs.values()))["stages"]):
            forecast = mean(predicted(run)[number] for run in runs.values()) / speed
            seconds = mean(measured(run)[number] for run in runs.values())
            lines.append(
                f"| {name} | {number + 1} | {stage['layers']} | {stage['frozen']} | "
                f"{stage['steps']} | {forecast:.1f} | {seconds:.1f} | "
                f"{seconds / forecast - 1:+.0%} |"
            )
    return lines


def mean(values):
    return statistics.mean(list(values))


def measured(run):
    """Seconds of each stage."""
    return [stage["seconds"] for stage in run["stages"]]


def predicted(run):
    """Operations of each stage by the cost model."""
    return run["predicted"]


def curve(run, costs):
    """Pairs of what was spent and held-out masked-LM loss; `costs` are those of the stages."""
    ends = [0, *itertools.accumulate(stage["steps"] for stage in run["stages"])]
    spent = [0.0, *itertools.accumulate(costs)]
    points = []
    for update, loss in run["losses"]:
        number = next(n for n, end in enumerate(ends[1:]) if update <= end)
        share = (update - ends[number]) / run["stages"][number]["steps"]
        points.append((spent[number] + share * costs[number], loss))
    return points


def cost_of(points, target):
    """What was spent until a loss is reached, linear between the points; None if it is not."""
    for (begin, before), (end, after) in itertools.pairwise(points):
        if after <= target:
            return begin + (end - begin) * (before - target) / max(before - after, 1e-9)
    return None


def loss_at(points, cost):
    """The last loss within so much cost; None where there is none."""
    return next((loss for spent, loss in points[::-1] if spent <= cost * 1.0001), None)

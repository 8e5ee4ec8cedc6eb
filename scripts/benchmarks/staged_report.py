"""Document and picture of the benchmark of staged training."""

import itertools
import json
import statistics

from shared.intervals import half_width
from shared.page import save_figure, table

from tfbert.io.whole import replacing

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
    parts = [("confirmed", "fresh seeds", "minutes of training", measured, 60)]
    if searched := results["search"].get(WHOLE):
        whole = mean(sum(run["predicted"]) for run in searched.values()) / 100
        parts.append(("search", "search, seed", "operations, % of full depth's", predicted, whole))
    for axes, (part, title, label, costs, unit) in zip(panels, parts, strict=False):
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
    save_figure(figure, path, bbox_inches="tight")


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
        f"{settings['machine']}, on each of which a training ran. Seconds are those of training, "
        "without compilation and evaluations; the loss is that of masked tokens of held-out text.",
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
            "Every variant is compared with full depth on its own seeds, whose numbers stand in "
            "brackets; differences have 95 % intervals over the seeds (Student's t). By its own "
            "last stage, which has all layers and trains them: full depth at the speed of these "
            "updates, whatever else the machine did in the other run. "
            f"SST-2: accuracy on dev after {tune['labels']:,} labels, mean over "
            f"{len(tune['seeds'])} fine-tunings a model, and the difference to full depth.",
            "",
            *verdicts(results["confirmed"]),
            "",
            *stages_beside_the_cost_model(results["confirmed"]),
            "",
        ]
    if results["search"]:
        lines += [
            f"## The search (seed {seeds_of(results['search'])})",
            "",
            "In operations by the cost model instead of seconds, so that it can be repeated beside "
            "other work.",
            "",
            *searched(results["search"], results["words"]),
        ]
    if whole := results["memory"].get(WHOLE):
        lines += ["", "## Peak memory of MSLT's stages, above that of the imports", ""]
        lines += [
            f"- {name}: {peak / 1e6:,.0f} MB, {peak / whole:.2f} of full depth"
            for name, peak in results["memory"].items()
        ]
    return "\n".join(lines) + "\n"


def seeds_of(variants):
    return ", ".join(sorted({seed for runs in variants.values() for seed in runs}, key=int))


def fresh(variants, words):
    """Table of the variants against full depth, seed by seed."""
    heads = ["variant", "options", "seeds", "seconds (full depth's)", "times faster"]
    heads += ["times faster by its own last stage"]
    heads += ["final loss (full depth's)", "difference"]
    heads += ["difference at the end of full depth's time"]
    heads += ["times faster to full depth's final loss", "SST-2, difference"]
    rows = []
    for name, pairs in compared(variants):
        seconds, whole = (mean(sum(measured(pair[side])) for pair in pairs) for side in (0, 1))
        faster, loss, *differences = beside_full_depth(pairs, measured)
        target = mean(whole["losses"][-1][1] for _, whole in pairs)
        seeds = ", ".join(seed for seed in variants[name] if seed in variants[WHOLE])
        row = [name, options(words[name]), seeds, f"{seconds:.0f} ({whole:.0f})", faster]
        row += [each(by_own_depth(pairs)), f"{loss} ({target:.3f})"]
        rows.append([*row, *differences, transfer(pairs)])
    return table(heads, rows)


def searched(variants, words):
    """Table of what was tried: as in `fresh`, in operations of the cost model for seconds."""
    heads = ["variant", "options", "times fewer operations", "final loss"]
    heads += ["difference", "difference at full depth's operations"]
    heads += ["times fewer to full depth's final loss"]
    rows = [
        [name, options(words[name]), *beside_full_depth(pairs, predicted)]
        for name, pairs in compared(variants)
    ]
    return table(heads, rows)


def beside_full_depth(pairs, costs):
    """In words: times cheaper, final loss, its difference, that at equal cost, times to it."""
    return [
        each(cheaper(pairs, costs)),
        f"{mean(run['losses'][-1][1] for run, _ in pairs):.3f}",
        apart([run["losses"][-1][1] - whole["losses"][-1][1] for run, whole in pairs]),
        apart(at_full_cost(pairs, costs)),
        each(to_full_loss(pairs, costs)),
    ]


def verdicts(variants):
    """What was asked of each variant, and what was found."""
    lines = []
    whole = [sum(measured(run)) / 60 for run in variants.get(WHOLE, {}).values()]
    if whole:
        found = "reached" if max(whole) <= MINUTES else "not on every seed"
        lines.append(
            f"- full depth: {min(whole):.1f} to {max(whole):.1f} minutes; at most {MINUTES} asked: "
            f"{found}."
        )
    for name, pairs in compared(variants):
        kind = name.split()[0]
        if kind not in SAVED:
            continue
        asked = [(to_full_loss(pairs, measured), SAVED[kind], "to full depth's final loss")]
        if kind == "mslt":
            both = zip(cheaper(pairs, measured), by_own_depth(pairs), strict=True)
            asked.insert(0, ([min(ways) for ways in both], TIME_RATIO, "at equal updates"))
        parts = []
        for ratios, least, what in asked:
            found = [ratio for ratio in ratios if ratio is not None and ratio >= least]
            on = "all" if len(found) == len(ratios) else len(found)
            parts.append(f"{least} times faster {what} on {on} of {len(ratios)} seeds")
        lines.append(f"- {name}: {', '.join(parts)}.")
    return lines


def compared(variants):
    """(name, pairs of a run and full depth's run of the same seed) of each that has such pairs."""
    whole = variants.get(WHOLE, {})
    for name, runs in variants.items():
        pairs = [(run, whole[seed]) for seed, run in runs.items() if seed in whole]
        if pairs:
            yield name, pairs


def options(words):
    return f"`{words}`" if words else ""


def cheaper(pairs, costs):
    """By pair, how many times cheaper the run is at equal updates."""
    return [sum(costs(whole)) / sum(costs(run)) for run, whole in pairs]


def by_own_depth(pairs):
    """By pair, `cheaper` with the run's own updates at full depth in the place of the other run."""
    ratios = []
    for run, whole in pairs:
        last, updates = run["stages"][-1], sum(stage["steps"] for stage in whole["stages"])
        ratios.append(updates * last["seconds"] / last["steps"] / sum(measured(run)))
    return ratios


def at_full_cost(pairs, costs):
    """By pair, the loss for what full depth costs, above full depth's; None where it has none."""
    differences = []
    for run, whole in pairs:
        end, target = curve(whole, costs(whole))[-1]
        loss = loss_at(curve(run, costs(run)), end)
        differences.append(None if loss is None else loss - target)
    return differences


def to_full_loss(pairs, costs):
    """By pair, how many times cheaper full depth's final loss is reached; None where never."""
    ratios = []
    for run, whole in pairs:
        end, target = curve(whole, costs(whole))[-1]
        reached = cost_of(curve(run, costs(run)), target)
        ratios.append(None if reached is None else end / reached)
    return ratios


def each(ratios):
    """Mean of some ratios and, in brackets, all of them."""
    parts = ["never" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    if None in ratios or len(ratios) == 1:
        return ", ".join(parts)
    return f"{mean(ratios):.2f} ({', '.join(parts)})"


def apart(differences, digits=3):
    """Mean difference, with a 95 % interval over the seeds where there are several."""
    if None in differences:
        return "none yet"
    text = f"{mean(differences):+.{digits}f}"
    if len(differences) < 2:
        return text
    return f"{text} ± {half_width(differences):.{digits}f}"


def transfer(pairs):
    """Mean accuracy and its difference to full depth.

    The unit is the pre-training: fine-tunings of one model are no independent comparisons.
    """
    pairs = [pair for pair in pairs if all(run["sst2"] for run in pair)]
    if not pairs:
        return "not yet"
    # Fine-tunings by the same seeds, where one of the two has fewer.
    tuned = [list(zip(run["sst2"], whole["sst2"], strict=False)) for run, whole in pairs]
    differences = [mean(own - other for own, other in seeds) for seeds in tuned]
    accuracy = mean(mean(own for own, _ in seeds) for seeds in tuned)
    return f"{accuracy:.4f}, {apart(differences, 4)}"


def stages_beside_the_cost_model(variants):
    """Section of measured seconds against what the cost model makes of full depth's speed."""
    rows = []
    for name, pairs in compared(variants):
        runs = [run for run, _ in pairs]
        speed = mean(sum(predicted(whole)) / sum(measured(whole)) for _, whole in pairs)
        for number, stage in enumerate(runs[0]["stages"]):
            forecast = mean(predicted(run)[number] for run in runs) / speed
            seconds = mean(measured(run)[number] for run in runs)
            row = [name, number + 1, stage["layers"], stage["frozen"], stage["steps"]]
            off = f"{seconds / forecast - 1:+.0%}"
            rows.append([*row, f"{forecast:.1f}", f"{seconds:.1f}", off])
    heads = ["variant", "stage", "layers", "frozen", "updates", "predicted s", "measured s", "off"]
    title = "## Stages and the cost model, at the speed of full depth on the same seeds"
    return [title, "", *table(heads, rows)]


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

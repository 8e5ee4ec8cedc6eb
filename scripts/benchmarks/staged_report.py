"""Page and picture of the benchmark of staged training."""

import statistics
from pathlib import Path

from shared.intervals import half_width
from shared.page import fail, save_figure, table

from tfbert.io.whole import replacing

FULL = "full_depth"


def write_report(cells: list[dict], path: Path) -> str:
    """Writes the page and, beside it, the picture; returns the text.

    Args:
        cells: What `Bench.run` returns; those without `sst2` are the search's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    searched = [cell for cell in cells if "sst2" not in cell]
    measured = {}
    for cell in cells:
        if "sst2" in cell:
            by_seed = measured.setdefault((cell["budget"], cell["form"]), {})
            by_seed[cell["seed"]] = cell
    if not measured:
        fail("nothing is measured yet")
    picture = path.with_suffix(".png")
    draw(measured, picture)
    text = report(measured, searched, picture.name)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def report(measured: dict, searched: list[dict], picture: str) -> str:
    """The page, as Markdown."""
    cells = [cell for by_seed in measured.values() for cell in by_seed.values()]
    one = min((c for c in cells if c["form"] == FULL), key=lambda c: c["budget"], default=cells[0])
    seeds = ", ".join(map(str, sorted({cell["seed"] for cell in cells})))
    options = {cell["form"]: options_in_words(cell["options"]) for cell in cells}
    heads = ["budget", "form", "updates", "seconds", "held-out loss", "above full depth's"]
    heads += ["SST-2", "above full depth's"]
    rows = [[f"{budget}x", form, *row(measured, budget, form)] for budget, form in measured]
    return f"""# Benchmark: staged training at a fixed budget

Written by `python scripts/benchmarks/staged_training.py DATA`, after its `--search`; the numbers
lie in `docs/{Path(picture).stem}/`. {one["model"]}, {one["batch"]} an update; {one["machine"]},
one of them for each run.

Every form has the same budget: {one["budget"]}x is what full depth spends on {one["updates"]:,}
updates, {one["operations"]:.2g} operations by the cost model. A form has as many updates as the
budget allows, and its rate rises and falls to 0 within them. The budget is operations and not
seconds, as other work ran on the machine; the seconds, those of the updates alone, tell how far
the two differ.

Seeds {seeds}; each number is a mean over them, with its 95 % interval (Student's t). Differences
are those between runs of one seed. SST-2: accuracy on dev after one fine-tuning on
{one["labels"]:,} labels at a rate of {one["tuning_rate"]:g}, full depth's best on other sentences
of SST-2's training part.

![held-out loss and accuracy against the budget]({picture})

{lines(table(heads, rows))}

{lines(verdicts(measured))}

"As good" says that the interval of the difference holds 0.

## The forms

{lines(table(["form", "options of `tfbert pretrain`"], options.items()))}

## The rates

Held-out loss at the smallest budget, on a seed that is not among those above. The best rate, in
bold, is the form's at every budget.

{lines(rates(searched))}
"""


def lines(parts):
    return "\n".join(parts)


def row(measured, budget, form):
    """The numbers of a form at a budget."""
    runs = measured[budget, form].values()
    found = [
        f"{statistics.mean(run['updates'] for run in runs):,.0f}",
        f"{statistics.mean(run['seconds'] for run in runs):.0f}",
    ]
    for name in ("loss", "sst2"):
        found.append(around([run[name] for run in runs], ".3f"))
        apart = differences(measured, budget, form, name)
        found.append(around(apart, "+.3f") if apart and form != FULL else "")
    return found


def differences(measured, budget, form, name):
    """By seed, how far a form's number is above full depth's."""
    whole, runs = measured.get((budget, FULL), {}), measured.get((budget, form), {})
    return [run[name] - whole[seed][name] for seed, run in runs.items() if seed in whole]


def verdicts(measured):
    """Of each form, a line on where its difference to full depth is beyond the interval."""
    found = []
    budgets = sorted({budget for budget, _ in measured})
    for form in dict.fromkeys(form for _, form in measured if form != FULL):
        parts = []
        for name, good, title in (("loss", -1, "held-out loss"), ("sst2", 1, "SST-2")):
            where = {"better": [], "as good": [], "worse": []}
            for budget in budgets:
                apart = differences(measured, budget, form, name)
                if len(apart) > 1:
                    gain = good * statistics.mean(apart)
                    if abs(gain) <= half_width(apart):
                        gain = 0
                    where[("as good", "better", "worse")[(gain > 0) - (gain < 0)]].append(budget)
            said = [f"{word} at {in_words(at)}" for word, at in where.items() if at]
            parts += [f"{title} {', '.join(said)}"] if said else []
        found += [f"- **{form}** against full depth: {'; '.join(parts)}."] if parts else []
    return found


def in_words(budgets):
    return " and ".join(f"{budget}x" for budget in budgets)


def rates(searched):
    """Table of the search, with the chosen rates in bold."""
    found = {}
    for cell in searched:
        found.setdefault(cell["form"], {})[cell["rate"]] = cell["loss"]
    heads = sorted({cell["rate"] for cell in searched})
    rows = []
    for form, losses in found.items():
        best = min(losses, key=losses.get)
        words = {rate: f"{loss:.3f}" for rate, loss in losses.items()}
        words[best] = f"**{words[best]}**"
        rows.append([form, *(words.get(rate, "") for rate in heads)])
    return table(["form", *(f"{rate:g}" for rate in heads)], rows)


def draw(measured: dict, path: Path) -> None:
    """Held-out loss and accuracy of the forms against the budget, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    forms = list(dict.fromkeys(form for _, form in measured))
    budgets = sorted({budget for budget, _ in measured})
    titles = (("loss", "held-out masked-LM loss"), ("sst2", "SST-2, accuracy on dev"))
    for axes, (name, title) in zip(panels, titles, strict=True):
        for number, form in enumerate(forms):
            there = [budget for budget in budgets if (budget, form) in measured]
            values = [[run[name] for run in measured[budget, form].values()] for budget in there]
            # Side by side, as their intervals overlap.
            places = [budget * 1.02 ** (number - len(forms) / 2) for budget in there]
            halves = [half_width(each) if len(each) > 1 else 0 for each in values]
            means = [statistics.mean(each) for each in values]
            axes.errorbar(places, means, halves, marker="o", capsize=3, label=form)
        axes.set(xlabel="budget", title=title, xscale="log")
        axes.set_xticks(budgets, [f"{budget}x" for budget in budgets])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    save_figure(figure, path)


def around(values: list[float], form: str) -> str:
    """A mean with its interval, where there are several values."""
    text = format(statistics.mean(values), form)
    if len(values) == 1:
        return text
    return f"{text} ± {format(half_width(values), form.removeprefix('+'))}"


def options_in_words(options):
    """As on the command line."""
    words = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return f"`{' '.join(words)}`" if words else ""

"""Staged training beside full depth; writes docs/benchmark_staged_training.{md,json,png}.

    python scripts/benchmarks/staged_training.py DATA [--runs DIR] [--seeds N ...] [--quick]
        [--variant NAME "OPTIONS" ...]

DATA holds imdb/unsup.txt.gz and glue/SST-2/. Every run is a run directory in DIR: what is finished
is not run again, what was interrupted goes on. About an hour on 2 cores that do nothing else.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import resource
import shlex
import statistics
import subprocess
import sys

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import scipy.stats
import yaml

from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.files import replacing
from tfbert.training.config import PretrainConfig
from tfbert.training.cost import CostModel, forecast
from tfbert.training.phases import with_layers

VARIANTS = {"full depth": "", "stack": "--staging stack", "mslt": "--staging mslt"}
MINUTES, TIME_RATIO, SAVED = 12, 1.9, {"stack": 1.33, "mslt": 1.43}
LABELS, TUNING_SEEDS = 2_000, (1, 2, 3)
# As in the recipe `mini_cpu`: at this budget a model that begins at random and on long sequences
# learns how frequent words are and no more, at any depth.
RECIPE = {
    "size": "tiny",
    "num_layers": 12,
    "optimizer": "lamb",
    "embeddings": "cooccurrence",
    "dropout": 0.0,
    "max_sequence_length": 128,
    "eval_steps": 50,
    "eval_sequences": 1024,
    "phases": [
        {
            "sequence_length": 32,
            "global_batch_size": 64,
            "steps": 1_200,
            "learning_rate": 8e-3,
            "warmup": 0.1,
        }
    ],
}
QUICK = {
    **RECIPE,
    "num_layers": 4,
    "hidden_dim": 16,
    "num_heads": 2,
    "eval_steps": 2,
    "eval_sequences": 16,
    "phases": [{**RECIPE["phases"][0], "global_batch_size": 8, "steps": 10}],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    docs = pathlib.Path(__file__).resolve().parents[2] / "docs"
    parser.add_argument("data", type=pathlib.Path, nargs="?")
    parser.add_argument("--output", type=pathlib.Path, default=docs, help="folder of the report")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/staged_training"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of pre-training")
    parser.add_argument(
        "--variant", nargs=2, action="append", default=[], metavar=("NAME", "WORDS")
    )
    parser.add_argument("--quick", action="store_true", help="tiny, on the embedded set")
    parser.add_argument("--memory", metavar="CONFIG", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(peak_memory(json.loads(arguments.memory))))
        return
    bench = Benchmark(arguments)
    results = bench.results()
    arguments.output.mkdir(parents=True, exist_ok=True)
    base = arguments.output / "benchmark_staged_training"
    draw(results, base.with_suffix(".png"))
    for suffix, text in ((".json", json.dumps(results, indent=1) + "\n"), (".md", report(results))):
        with replacing(base.with_suffix(suffix)) as temporary:
            temporary.write_text(text)
    print(report(results))


class Benchmark:
    """All runs, made where they are not there yet."""

    def __init__(self, arguments):
        self.folder, self.data, self.quick = arguments.runs, arguments.data, arguments.quick
        self.seeds = arguments.seeds
        self.variants = {**VARIANTS, **dict(arguments.variant)}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records = self.folder / "records"
        self.recipe = self.folder / "recipe.yaml"
        self.recipe.write_text(yaml.safe_dump(QUICK if self.quick else RECIPE))

    def results(self):
        """`{"variants": {name: {seed: numbers}}, "memory": {name: bytes}, "settings": ...}`."""
        self.prepare()
        variants = {
            name: {str(seed): self.train(name, words, seed) for seed in self.seeds}
            for name, words in self.variants.items()
        }
        recipe = yaml.safe_load(self.recipe.read_text())
        machine = f"{os.cpu_count()} cores, {platform.machine()}"
        return {
            "variants": variants,
            "words": self.variants,
            "memory": self.memory(recipe),
            "settings": {"recipe": recipe, "machine": machine, "quick": self.quick},
        }

    def prepare(self):
        """Vocabulary and records of the text."""
        if (self.records / "dataset.json").exists():
            return
        if self.quick:
            text = self.folder / "text.txt"
            lines = (SENTIMENT_DIRECTORY / "train.tsv").read_text().splitlines()[1:]
            sentences = [line.split("\t")[0] for line in lines]
            text.write_text("\n".join(map(" ".join, zip(*[iter(sentences)] * 6, strict=False))))
        else:
            text = self.data / "imdb" / "unsup.txt.gz"
        vocabulary, size = self.folder / "vocab.txt", "500" if self.quick else "8192"
        tfbert("vocab", "--input", text, "--size", size, "--output", vocabulary)
        words = ["--vocab", vocabulary, "--sequences", "filled", "--lengths", "32"]
        words += ["--validation-fraction", "0.05"]
        tfbert("prepare", "--input", text, "--output", self.records, *words)

    def train(self, name, words, seed):
        """Numbers of one pre-training and of the fine-tunings after it."""
        run = self.folder / f"{name.replace(' ', '_')}-{seed}"
        own = ["--recipe", self.recipe, "--data", self.records, "--seed", seed, *shlex.split(words)]
        if not (run / "metrics.json").exists():
            tfbert("pretrain", *own, "--output", run)
        metrics = json.loads((run / "metrics.json").read_text())
        phases = yaml.safe_load((run / "config.yaml").read_text())["resolved"]["phases"]
        config = PretrainConfig.from_recipe(str(run / "config.yaml"))
        stages = measured_stages(run, phases)
        return {
            "stages": stages,
            "predicted": predicted_flops(config, phases, self.vocabulary_size()),
            "curve": loss_curve(run, stages),
            "command_seconds": metrics["seconds"],
            "sst2": [self.tune(run, number) for number in TUNING_SEEDS],
        }

    def vocabulary_size(self):
        return len((self.folder / "vocab.txt").read_text().splitlines())

    def tune(self, run, seed):
        """Accuracy on SST-2 after training on some labels."""
        output = run.with_name(f"{run.name}-sst2-{seed}")
        if not (output / "metrics.json").exists():
            words = ["--model", run, "--output", output, "--seed", seed, "--learning-rate", 1e-4]
            if self.quick:
                words += ["--task", "embedded", "--epochs", 1, "--max-length", 32]
            else:
                train = self.folder / "sst2.tsv"
                lines = (self.data / "glue/SST-2/train.tsv").read_text().splitlines()
                step = (len(lines) - 1) // LABELS  # spread over the file, always the same
                train.write_text("\n".join([lines[0], *lines[1::step][:LABELS]]) + "\n")
                words += ["--task", "tsv", "--data", train, "--text-column", "sentence"]
                words += ["--eval-data", self.data / "glue/SST-2/dev.tsv", "--epochs", 3]
                words += ["--dropout", 0.1]
            tfbert("finetune", *words)
        return json.loads((output / "metrics.json").read_text())["accuracy"]

    def memory(self, recipe):
        """Peak bytes above the imports: an early and a middle stage of MSLT, and full depth."""
        depth = recipe["num_layers"]
        cases = {"stage 1": (depth // 4, 0), "stage 2": (depth // 2, depth // 4)}
        found = {}
        for name, (layers, frozen) in {**cases, "full depth": (depth, 0)}.items():
            path = self.folder / f"memory-{name.replace(' ', '-')}.json"
            if not path.exists():
                phase = {**recipe["phases"][0], "steps": 2, "freeze_layers": frozen}
                config = {**recipe, "num_layers": layers, "phases": [phase], "overwrite": True}
                config |= {"data": str(self.records), "output": str(self.folder / "memory")}
                command = [sys.executable, __file__, "--memory", json.dumps(config)]
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                path.write_text(answer.stdout.splitlines()[-1])
            found[name] = json.loads(path.read_text())
        return found


def tfbert(*words):
    subprocess.run([sys.executable, "-m", "tfbert", *map(str, words)], check=True)


def peak_memory(config):
    """Peak resident bytes of two updates above what the process has without a model."""
    from train_function import resident_bytes

    from tfbert.training.pretrain import pretrain

    before = resident_bytes()
    pretrain(PretrainConfig(**config))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def scalars(folder, tag):
    """`{step: value}` of a curve for TensorBoard."""
    import tensorflow as tf

    found = {}
    for path in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == tag:
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return found


def measured_stages(run, phases):
    """Of each stage: layers, frozen layers, updates, and seconds of training.

    Speeds are those of the run's own points, without compilation and evaluations.
    """
    speeds = scalars(run / "logs" / "train", "sequences_per_second")
    stages, begin = [], 0
    for phase in phases:
        end = begin + phase["steps"]
        here = [speed for step, speed in speeds.items() if begin < step <= end]
        seconds = phase["steps"] * phase["global_batch_size"] / statistics.median(here)
        stage = {"layers": phase["layers"], "frozen": phase["freeze_layers"]}
        stages.append({**stage, "steps": phase["steps"], "seconds": seconds})
        begin = end
    return stages


def predicted_flops(config, phases, vocabulary_size):
    """Operations of each stage by the cost model."""
    size = config.bert_size
    costs = CostModel(size, vocabulary_size, config.max_sequence_length, False, config.optimizer)
    resolved = with_layers(config.scaled_phases(), size.num_layers)
    parts, _ = forecast(costs, resolved, [phase["predictions"] for phase in phases], 1.0)
    return [part.flops for part in parts]


def loss_curve(run, stages):
    """Pairs of seconds of training and held-out masked-LM loss."""
    ends = [0, *itertools.accumulate(stage["steps"] for stage in stages)]
    times = [0.0, *itertools.accumulate(stage["seconds"] for stage in stages)]
    curve = []
    for update, loss in sorted(scalars(run / "logs" / "evaluation", "loss").items()):
        number = next(n for n, end in enumerate(ends[1:]) if update <= end)
        share = (update - ends[number]) / stages[number]["steps"]
        curve.append((times[number] + share * stages[number]["seconds"], loss))
    return curve


def time_to(curve, target):
    """Seconds until a loss is reached, linear between the points; None if it is not."""
    for (begin, before), (end, after) in itertools.pairwise(curve):
        if after <= target:
            return begin + (end - begin) * (before - target) / max(before - after, 1e-9)
    return None


def draw(results, path):
    """Held-out loss against seconds of training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for number, (name, runs) in enumerate(results["variants"].items()):
        for index, run in enumerate(runs.values()):
            seconds, losses = zip(*run["curve"], strict=True)
            minutes = [second / 60 for second in seconds]
            axes.plot(minutes, losses, color=f"C{number}", label=None if index else name)
    axes.set(xlabel="minutes of training", ylabel="held-out masked-LM loss")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")


def mean(values):
    values = list(values)
    return None if None in values else statistics.mean(values)


def report(results):
    """The document."""
    full = results["variants"]["full depth"]
    settings, recipe = results["settings"], results["settings"]["recipe"]
    phase = recipe["phases"][0]
    flops = sum(sum(run["predicted"]) for run in full.values())
    speed = flops / sum(seconds_of(run) for run in full.values())
    lines = [
        "# Benchmark: staged training",
        "",
        "Written by `python scripts/benchmarks/staged_training.py DATA`"
        + (" `--quick`: tiny models, to try the script." if settings["quick"] else "."),
        f"{recipe['num_layers']} layers, {phase['steps']} updates of "
        f"{phase['global_batch_size']} x {phase['sequence_length']} tokens, "
        f"pre-training seeds {', '.join(full)}; {settings['machine']}.",
        "Seconds are those of training, without compilation and evaluations; the held-out loss is "
        "that of the masked tokens. Full depth must take at most "
        f"{MINUTES} minutes, MSLT at most 1/{TIME_RATIO} of it at equal updates, and to full "
        f"depth's final loss MSLT at most 1/{SAVED['mslt']}, stacking 1/{SAVED['stack']}.",
        "",
        "![held-out loss against time](benchmark_staged_training.png)",
        "",
        "| variant | options | seconds | times faster | with start and evaluations | final loss | "
        "loss at full depth's end | times faster to full depth's final loss | SST-2, difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in results["variants"].items():
        lines.append(variant_row(name, results["words"][name], runs, full))
    lines += [
        "",
        f"SST-2: accuracy on dev after {LABELS:,} labels, mean over {len(TUNING_SEEDS)} seeds; the "
        "difference to full depth, with the 95 % interval of paired runs.",
        "",
        f"## Stages and the cost model, at full depth's {speed / 1e9:.0f} GFLOP/s (measured)",
        "",
        "| variant | stage | layers | frozen | updates | predicted s | measured s | off |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in results["variants"].items():
        for number, stage in enumerate(next(iter(runs.values()))["stages"]):
            predicted = mean(run["predicted"][number] for run in runs.values()) / speed
            measured = mean(run["stages"][number]["seconds"] for run in runs.values())
            lines.append(
                f"| {name} | {number + 1} | {stage['layers']} | {stage['frozen']} | "
                f"{stage['steps']} | {predicted:.1f} | {measured:.1f} | "
                f"{measured / predicted - 1:+.0%} |"
            )
    lines += ["", "## Peak memory of MSLT's stages, above that of the imports", ""]
    whole = results["memory"]["full depth"]
    lines += [
        f"- {name}: {peak / 1e6:,.0f} MB, {peak / whole:.2f} of full depth"
        for name, peak in results["memory"].items()
    ]
    return "\n".join(lines) + "\n"


def seconds_of(run):
    return sum(stage["seconds"] for stage in run["stages"])


def variant_row(name, words, runs, full):
    """One line of the table: means over the seeds, compared seed by seed."""
    pairs = [(runs[seed], full[seed]) for seed in runs]
    seconds = mean(seconds_of(run) for run, _ in pairs)
    faster = mean(seconds_of(whole) / seconds_of(run) for run, whole in pairs)
    wall = mean(whole["command_seconds"] / run["command_seconds"] for run, whole in pairs)
    final = mean(run["curve"][-1][1] for run, _ in pairs)
    at_end = mean(loss_at(run["curve"], whole["curve"][-1][0]) for run, whole in pairs)
    reached = [time_to(run["curve"], whole["curve"][-1][1]) for run, whole in pairs]
    ratios = [
        None if time is None else whole["curve"][-1][0] / time
        for time, (_, whole) in zip(reached, pairs, strict=True)
    ]
    to_final = mean(ratios)
    accuracy = mean(itertools.chain(*(run["sst2"] for run, _ in pairs)))
    return (
        f"| {name} | `{words}` | {seconds:.0f} | {faster:.2f} | {wall:.2f} | {final:.3f} | "
        f"{'none yet' if at_end is None else f'{at_end:.3f}'} | "
        f"{'not reached' if to_final is None else f'{to_final:.2f}'} | "
        f"{accuracy:.4f}, {interval(pairs)} |"
    )


def loss_at(curve, seconds):
    """The loss after so much training, or the last one before; None where there is none."""
    return next((loss for time, loss in curve[::-1] if time <= seconds * 1.0001), None)


def interval(pairs):
    """Mean difference in accuracy to full depth, and its 95 % interval over all fine-tunings."""
    differences = [
        one - other
        for run, whole in pairs
        for one, other in zip(run["sst2"], whole["sst2"], strict=True)
    ]
    count = len(differences)
    student = float(scipy.stats.t.ppf(0.975, count - 1))
    width = student * statistics.stdev(differences) / count**0.5
    return f"{mean(differences):+.4f} ± {width:.4f}"


if __name__ == "__main__":
    main()

"""Staged training against full depth; writes docs/benchmark_staged_training.{md,json,png}.

    python scripts/benchmarks/staged_training.py DATA [--runs DIR] [--seeds N ...] [--quick]
        [--report]

DATA holds imdb/unsup.txt.gz and glue/SST-2/. Every run is a run directory in DIR: what is finished
is not run again, what was stopped goes on, and what the last report has of the same recipe and
options is not measured again and stays in it. About four hours on 2 cores that do nothing
else. --quick goes into a folder of its own, its report too.
"""

import argparse
import concurrent.futures
import hashlib
import itertools
import json
import os
import queue
import shlex
import statistics
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import yaml
from shared.machine import answer_of, cores, peak_bytes, resident_bytes, tfbert
from shared.page import DOCS, make_parser, require
from staged_report import WHOLE, write_report

from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.io.whole import read_json, write_json
from tfbert.recipes.cost import CostModel, forecast
from tfbert.recipes.phases import with_layers
from tfbert.recipes.pretrain_options import PretrainConfig

LATE = "--staging stack --stage-shares 0.5 0.25 0.25"
MSLT = "--staging mslt"
BRIEF = f"{MSLT} --stage-shares 0.65 0.02 0.02 0.02 0.29"
JOINT = f"{MSLT} --stage-shares 0.62 0.02 0.02 0.02 0.32"
LONGER = "--recipe RUNS/longer.yaml"
# Options of `tfbert pretrain`, and the fresh seeds of what the search found: the papers' settings,
# then what was tried. RUNS is the folder of the runs. "mslt brief" came just short of the time
# asked, so "mslt briefer" has seeds that nobody had seen by then; it came short as well, and
# "mslt briefest" was chosen by these seconds alone, not by a loss.
VARIANTS = {
    WHOLE: ("", (2, 3, 4, 5, 6)),
    "full depth slow": ("--recipe RUNS/slow.yaml", ()),
    "stack": ("--staging stack", ()),
    "stack late": (LATE, ()),
    "stack each": (f"{LATE} --stage-schedule each", ()),
    "mslt": (MSLT, ()),
    "mslt late": (f"{MSLT} --stage-shares 0.55 0.1 0.1 0.1 0.15", ()),
    "mslt later": (f"{MSLT} --stage-shares 0.7 0.05 0.05 0.05 0.15", ()),
    "mslt joint": (JOINT, ()),
    "mslt joint longer": (f"{JOINT} {LONGER}", ()),
    "mslt brief": (BRIEF, (2, 3)),
    "mslt briefer": (f"{MSLT} --stage-shares 0.7 0.02 0.02 0.02 0.24", (4, 5, 6)),
    "mslt briefest": (f"{MSLT} --stage-shares 0.76 0.02 0.02 0.02 0.18", (4, 5, 6)),
    "stack longer": (f"{LATE} {LONGER}", (2, 3, 4)),
    "mslt longer": (f"{BRIEF} {LONGER}", (2, 3)),
    "full depth fast": ("--recipe RUNS/fast.yaml", ()),
}
WORDS = {name: words for name, (words, _) in VARIANTS.items()}
SEARCH_SEED = 1
LABELS, TUNING_SEEDS = 2_000, (1, 2)
# As in the recipe `mini_cpu`: at this budget a model that begins at random and on long sequences
# learns how frequent words are and no more, at any depth.
RECIPE = {
    "size": "tiny",
    "num_layers": 12,
    "optimizer": "lamb",
    "embeddings": "cooccurrence",
    "dropout": 0.0,
    "max_sequence_length": 128,
    "eval_steps": 100,
    "eval_sequences": 1024,
    "phases": [
        {
            "sequence_length": 32,
            "global_batch_size": 32,
            "steps": 1_200,
            "learning_rate": 6e-3,
            "warmup": 0.1,
        }
    ],
}
QUICK = {
    **RECIPE,
    "num_layers": 4,
    "hidden_dim": 16,
    "num_heads": 2,
    "eval_steps": 20,
    "eval_sequences": 16,
    "phases": [{**RECIPE["phases"][0], "global_batch_size": 8, "steps": 100}],
}


def main():
    parser = make_parser(__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--output", type=Path, help="folder of the report, default docs")
    parser.add_argument("--runs", type=Path, help="default runs/staged_training")
    parser.add_argument("--seeds", type=int, nargs="+", help="fresh ones, of all variants")
    parser.add_argument("--quick", action="store_true", help="tiny, on the embedded set")
    parser.add_argument("--report", action="store_true", help="only write what is there")
    parser.add_argument("--memory", metavar="CONFIG", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(peak_memory(json.loads(arguments.memory))))
        return
    if not (arguments.data or arguments.quick):
        parser.error("DATA or --quick must be given")
    require("matplotlib")
    name = "staged_training_quick" if arguments.quick else "staged_training"
    arguments.runs = arguments.runs or Path("runs", name)
    arguments.output = arguments.output or (arguments.runs if arguments.quick else DOCS)
    benchmark = Benchmark(arguments)
    if not arguments.report:
        benchmark.make()
    print(write_report(benchmark.results(), arguments.output))


class Benchmark:
    """All runs, made where they are not there yet."""

    def __init__(self, arguments):
        self.folder, self.data, self.quick = arguments.runs, arguments.data, arguments.quick
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records, self.labelled = self.folder / "records", self.folder / "sst2.tsv"
        self.recipe = recipe = QUICK if self.quick else RECIPE
        self.tuning_seeds = TUNING_SEEDS[:1] if self.quick else TUNING_SEEDS
        depth, phase = recipe["num_layers"], recipe["phases"][0]
        self.memory_cases = {  # layers, frozen ones: early and middle stages of MSLT
            "stage 1": (depth // 4, 0),
            "stage 2": (depth // 2, depth // 4),
            WHOLE: (depth, 0),
        }
        seeds = (2,) if self.quick else arguments.seeds
        found = {name: seeds or own for name, (_, own) in VARIANTS.items() if own}
        self.fresh = [(name, seed) for name in found for seed in found[name]]
        searched = (WHOLE, "stack", "mslt") if self.quick else VARIANTS
        self.searched = [(name, SEARCH_SEED) for name in searched]
        self.order = [*found, *(name for name in searched if name not in found)]
        report = arguments.output / "benchmark_staged_training.json"
        self.before = read_json(report) if report.exists() else {}
        if self.before and self.before["settings"]["recipe"] != recipe:
            self.before = {}
        rates = {"slow": phase["learning_rate"] / 2, "fast": phase["learning_rate"] * 2}
        changes = {name: {"learning_rate": rate} for name, rate in rates.items()}
        changes |= {"recipe": {}, "longer": {"steps": phase["steps"] * 5 // 4}}
        for name, change in changes.items():
            changed = {**recipe, "phases": [{**phase, **change}]}
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(changed))

    def make(self):
        """Makes every run whose numbers are not there."""
        self.prepare()
        fresh = [job for job in self.fresh if not (self.known("confirmed", *job) or {}).get("sst2")]
        fresh.sort(key=lambda job: job[1])  # what is compared runs together
        one_on_each_core(self.train, fresh)
        tunings = itertools.product(self.tuning_seeds, fresh)
        one_on_each_core(self.tune, [(*job, tuning_seed) for tuning_seed, job in tunings])
        for name in self.memory_cases:
            self.measure_memory(name)
        one_on_each_core(self.train, [j for j in self.searched if not self.known("search", *j)])

    def results(self):
        """`{"search", "confirmed": {name: {seed: numbers}}, "memory", "words", "settings"}`."""
        memory = {name: self.folder / f"memory-{name}.json" for name in self.memory_cases}
        there = {name: read_json(path) for name, path in memory.items() if path.exists()}
        return {
            "search": self.collect("search", self.searched),
            "confirmed": self.collect("confirmed", self.fresh),
            "words": {**self.before.get("words", {}), **{name: WORDS[name] for name in self.order}},
            "memory": {**self.before.get("memory", {}), **there},
            "settings": {
                "recipe": self.recipe,
                "machine": cores(),
                "quick": self.quick,
                "fine_tuning": {"labels": LABELS, "seeds": self.tuning_seeds},
            },
        }

    def collect(self, part, jobs):
        """Numbers of the runs that are there, and what the last report has in addition."""
        names = self.before.get(part, ())
        found = {name: dict(runs) for name in names if (runs := self.known(part, name))}
        for name, seed in jobs:
            if numbers := self.numbers(name, seed):
                found.setdefault(name, {})[str(seed)] = numbers
        order = [*self.order, *found]
        return {
            name: dict(sorted(found[name].items(), key=lambda run: int(run[0])))
            for name in sorted(found, key=order.index)
        }

    def known(self, part, name, seed=None):
        """What the last report has of a variant with the same options, or of one of its runs."""
        words = self.before.get("words", {}).get(name)
        if words is None or WORDS.get(name, words) != words:
            return None
        runs = self.before[part].get(name, {})
        return runs if seed is None else runs.get(str(seed))

    def prepare(self):
        """Vocabulary and records of the text, labelled sentences."""
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
        if not self.quick:
            lines = (self.data / "glue/SST-2/train.tsv").read_text().splitlines()
            step = (len(lines) - 1) // LABELS  # spread over the file, always the same
            self.labelled.write_text("\n".join([lines[0], *lines[1::step][:LABELS]]) + "\n")

    def run(self, name, seed):
        """The run directory of a pre-training: another one for other options."""
        options = json.dumps([self.recipe, WORDS[name]])
        digest = hashlib.sha256(options.encode()).hexdigest()[:8]
        return self.folder / f"{name.replace(' ', '_')}-{seed}-{digest}"

    def train(self, name, seed):
        """Pre-trains a model unless it is there."""
        if not (self.run(name, seed) / "metrics.json").exists():
            own = ["--recipe", self.folder / "recipe.yaml", "--data", self.records, "--seed", seed]
            own += ["--output", self.run(name, seed)]
            words = WORDS[name].replace("RUNS", str(self.folder))
            tfbert("pretrain", *own, *shlex.split(words))

    def tune(self, name, seed, tuning_seed):
        """Trains a pre-trained model on some labels of SST-2."""
        run = self.run(name, seed)
        output = run.with_name(f"{run.name}-sst2-{tuning_seed}")
        if not (output / "metrics.json").exists():
            words = ["--model", run, "--output", output, "--seed", tuning_seed]
            # The last epoch: the evaluation examples choose nothing.
            words += ["--learning-rate", 1e-4, "--keep-epoch", "last"]
            if self.quick:
                words += ["--task", "embedded", "--epochs", 1, "--max-length", 32]
            else:
                words += ["--task", "tsv", "--data", self.labelled, "--text-column", "sentence"]
                words += ["--eval-data", self.data / "glue/SST-2/dev.tsv", "--epochs", 3]
                words += ["--dropout", 0.1]
            tfbert("finetune", *words)

    def numbers(self, name, seed):
        """What the report says about a pre-training; None if it is not through."""
        run = self.run(name, seed)
        if not (run / "metrics.json").exists():
            return None
        phases = yaml.safe_load((run / "config.yaml").read_text())["resolved"]["phases"]
        config = PretrainConfig.from_recipe(str(run / "config.yaml"))
        vocabulary_size = len((self.folder / "vocab.txt").read_text().splitlines())
        tuned = sorted(self.folder.glob(f"{run.name}-sst2-*/metrics.json"))
        return {
            "stages": measured_stages(run, phases),
            "predicted": predicted_flops(config, phases, vocabulary_size),
            "losses": sorted(scalars(run / "logs" / "evaluation", "loss").items()),
            "sst2": [read_json(path)["accuracy"] for path in tuned],
        }

    def measure_memory(self, name):
        """Peak bytes of two updates above the imports, in a process of its own."""
        path = self.folder / f"memory-{name}.json"
        if path.exists() or name in self.before.get("memory", {}):
            return
        layers, frozen = self.memory_cases[name]
        phase = {**self.recipe["phases"][0], "steps": 2, "freeze_layers": frozen}
        config = {**self.recipe, "num_layers": layers, "phases": [phase], "overwrite": True}
        config |= {"data": str(self.records), "output": str(self.folder / "memory")}
        # Activations are what differs: more of them, and no counting of words before.
        phase["global_batch_size"] *= 16
        config |= {"embeddings": "random", "device_tokens": 2**20, "eval_sequences": 16}
        write_json(path, answer_of(__file__, "--memory", json.dumps(config)))


def one_on_each_core(function, jobs):
    """Calls `function(*job)`, as many at a time as there are cores, each with a core of its own.

    A model of this size gains little from a second core, and every run has a neighbour.
    """
    free = queue.SimpleQueue()
    for core in os.sched_getaffinity(0):
        free.put(core)

    def pin():
        os.sched_setaffinity(0, {free.get()})  # of this thread, and of what it starts

    with concurrent.futures.ThreadPoolExecutor(free.qsize(), initializer=pin) as pool:
        for _ in pool.map(lambda job: function(*job), jobs):
            pass  # raises what a job raised


def peak_memory(config):
    """Peak resident bytes of two updates above what the process has without a model."""
    from tfbert.runs.pretrain import pretrain

    before = resident_bytes()
    pretrain(PretrainConfig(**config))
    return peak_bytes() - before


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


if __name__ == "__main__":
    main()

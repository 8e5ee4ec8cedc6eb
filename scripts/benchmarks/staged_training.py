"""Staged training at a fixed budget; writes docs/benchmark_staged_training.md and its picture.

    python scripts/benchmarks/staged_training.py DATA --search [--forms NAME ...]
    python scripts/benchmarks/staged_training.py DATA [--forms NAME ...] [--budgets N ...]
        [--seeds N ...] [--report]

Every form gets the same budget, counted in operations by the cost model, and its rate falls to 0
within it: the protocol of "No Train No Gain" (Kaddour et al., NeurIPS 2023, arXiv 2307.06440).
`--search` comes first: it finds each form's rate at the smallest budget, on a seed of its own, and
with full depth, for all forms, that of the fine-tuning, judged on other sentences of SST-2's
training part. DATA holds imdb/unsup.txt.gz and glue/SST-2/.

What is measured is not measured again, and what was stopped goes on. Each process writes the page
from all that is there, so that two of them can share the forms or the seeds, each on a core of its
own (`taskset -c 0 python ...`). Some 10 minutes of one core for the search of the four forms
that are measured by default, and an hour for the rest. Needs matplotlib.
"""

import argparse
import bisect
import dataclasses
import gzip
import itertools
import json
import os
import shutil
import statistics
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import filelock
from shared.cells import Cells
from shared.machine import cores
from shared.page import DOCS, fail, make_parser, positive, require
from staged_report import FULL, write_report

import tfbert
from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.recipes.cost import CostModel, forecast
from tfbert.recipes.phases import with_layers
from tfbert.records.prepare import prepare
from tfbert.records.record_options import PrepareConfig
from tfbert.records.record_source import open_records
from tfbert.runs.outputs.curves import read_curves
from tfbert.text.learn_vocabulary import learn_vocabulary
from tfbert.text.vocab_options import VocabConfig

LAYERS = 8
# Options of `tfbert pretrain`. The shares of `mslt` and `stack` are those that did best in an
# earlier search, at equal updates (docs/staged_training.md): on a model of 12 layers and other
# seeds. What the papers say is there, too, and a model that stays as small as the first stage is.
FORMS = {
    FULL: {},
    "mslt": {"staging": "mslt", "stage_shares": [0.76, 0.02, 0.02, 0.02, 0.18]},
    "stack": {"staging": "stack", "stage_shares": [0.5, 0.25, 0.25]},
    "one_shot": {"staging": "one_shot"},
    "mslt_paper": {"staging": "mslt"},
    "stack_paper": {"staging": "stack"},
    "one_shot_paper": {"staging": "one_shot", "joint_share": 0.97},
    "quarter_depth": {"num_layers": LAYERS // 4},
}
BY_DEFAULT = (FULL, "mslt", "stack", "one_shot")
BUDGETS = (1, 2, 4)
SEEDS = (7, 8, 9)  # 1 to 6 were seen when the shares were chosen
SEARCH_SEED = 1
RATES = (3e-3, 6e-3, 1.2e-2, 2.4e-2)
LENGTH = 32
REVIEWS, VOCABULARY_SIZE = 12_000, 4_096
# At so small a budget a model that begins at random and on long sequences learns how frequent words
# are and no more, at any depth: so as in the recipe `mini_cpu`.
RECIPE = {
    "size": "tiny",
    "num_layers": LAYERS,
    "embeddings": "cooccurrence",
    "dropout": 0.0,
    "max_sequence_length": 128,
    "precision": "float32",
    "eval_steps": 1_000_000,  # at the ends of stages only
    "eval_sequences": 1_024,
    "keep_checkpoints": 1,
    "progress": False,
}
# Of full depth at the smallest budget, 1. At its last update the rate is 0.
PHASE = {"steps": 500, "global_batch_size": 16, "sequence_length": LENGTH, "warmup": 0.1}
LABELS, JUDGES = 2_000, 1_000
FINE_TUNING = {"epochs": 3, "dropout": 0.1, "keep_epoch": "last"}
TUNING_RATES = (1e-4, 3e-4, 1e-3)
TUNING = "search-tuning"  # the cell of their accuracies


def main():
    parser = make_parser(__doc__, "benchmark_staged_training.md", "tiny, on the embedded set")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--search", action="store_true", help="find the rates, and stop there")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=BY_DEFAULT)
    parser.add_argument("--budgets", type=positive, nargs="+", default=BUDGETS)
    parser.add_argument("--seeds", type=positive, nargs="+", default=SEEDS)
    parser.add_argument("--report", action="store_true", help="only write what is there")
    parser.add_argument("--results", type=Path, default=DOCS / "benchmark_staged_training")
    parser.add_argument("--work", type=Path, default=Path("runs/staged_training"))
    arguments = parser.parse_args()
    if not (arguments.data or arguments.tiny or arguments.report):
        parser.error("DATA must be given")
    require("matplotlib")
    cells = Cells(arguments.results)
    if not arguments.report:
        measure(arguments, cells)
    if not arguments.search:
        print(write_report(collect(cells), arguments.output))


def measure(arguments: argparse.Namespace, cells: Cells) -> None:
    """Every cell that was asked for and is not there yet."""
    bench = Bench(arguments.data, arguments.work, arguments.tiny)
    bench.prepare()
    if arguments.search:
        for form, rate in itertools.product(arguments.forms, RATES):
            name = f"search-{form}-{rate:g}"
            cells.measure(name, bench.run, name, form, min(BUDGETS), SEARCH_SEED, rate)
        if FULL in arguments.forms:
            cells.measure(TUNING, bench.search_tuning, chosen_rate(cells, FULL))
        return
    rates = {form: chosen_rate(cells, form) for form in arguments.forms}
    tuning_rate = chosen_tuning_rate(cells)
    asked = itertools.product(arguments.seeds, arguments.budgets, arguments.forms)
    for seed, budget, form in asked:
        name = f"{form}-{budget}x-{seed}"
        cells.measure(name, bench.run, name, form, budget, seed, rates[form], tuning_rate)


def chosen_rate(cells: Cells, form: str) -> float:
    """The rate with the lowest held-out loss in the search; ends the script if one is not there."""
    names = {rate: f"search-{form}-{rate:g}" for rate in RATES}
    return min(RATES, key=lambda rate: found(cells, names[rate], form)["loss"])


def chosen_tuning_rate(cells: Cells) -> float:
    """The rate of fine-tuning with the highest accuracy in the search."""
    accuracies = found(cells, TUNING, FULL)["accuracies"]
    return max(TUNING_RATES, key=lambda rate: accuracies[f"{rate:g}"])


def found(cells: Cells, name: str, form: str) -> dict:
    """A cell of the search; ends the script if it is not there."""
    path = cells.folder / f"{name}.json"
    if not path.exists():
        fail(f"{path} is not there: run with --search --forms {form} first")
    return json.loads(path.read_text())


def collect(cells: Cells) -> list[dict]:
    """All cells that are there, in the order of the forms."""
    paths = sorted(cells.folder.glob("*.json"))
    there = [json.loads(path.read_text()) for path in paths if path.stem != TUNING]
    names = list(FORMS)
    return sorted(there, key=lambda cell: (cell["budget"], names.index(cell["form"]), cell["seed"]))


@dataclasses.dataclass(frozen=True)
class Bench:
    """Pre-trains and fine-tunes.

    Args:
        data: Folder of the texts; not read if `tiny`.
        work: Where records and runs lie.
        tiny: Tiny models on the embedded set, to try the script.
    """

    data: Path | None
    work: Path
    tiny: bool

    @property
    def records(self) -> Path:
        return self.work / "records"

    @property
    def labelled(self) -> Path:
        """Sentences to train on."""
        return self.work / "sst2.tsv"

    @property
    def judges(self) -> Path:
        """Others, by which the rate of fine-tuning is chosen."""
        return self.work / "sst2_judges.tsv"

    def prepare(self) -> None:
        """Makes records and labelled sentences, unless they are there; one process at a time."""
        self.work.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.work / "prepare.lock"):
            if (self.records / "dataset.json").exists():
                return
            text, vocabulary = self.work / "text.txt", self.work / "vocabulary.txt"
            text.write_text("\n".join(self._documents()) + "\n", encoding="utf-8")
            if not vocabulary.exists():
                size = 500 if self.tiny else VOCABULARY_SIZE
                learn_vocabulary(VocabConfig([text], vocabulary, size))
            lengths = {"sequences": "filled", "lengths": [LENGTH], "validation_fraction": 0.05}
            for table, first in ((self.labelled, 0), (self.judges, 1)):
                table.write_text("\n".join(self._sentences(first)) + "\n", encoding="utf-8")
            prepare(PrepareConfig([text], str(self.records), str(vocabulary), **lengths))

    def _documents(self):
        """One document each."""
        if self.tiny:
            sentences = [line.split("\t")[0] for line in self._sentences()[1:]]
            yield from map(" ".join, zip(*[iter(sentences)] * 6, strict=False))
            return
        with gzip.open(self.data / "imdb" / "unsup.txt.gz", "rt", encoding="utf-8") as file:
            for line in itertools.islice(file, REVIEWS):
                yield line.replace("<br />", " ").strip()

    def _sentences(self, first=0):
        """Lines of a table of labelled sentences: its head, and some spread over the file."""
        folder = SENTIMENT_DIRECTORY if self.tiny else self.data / "glue" / "SST-2"
        head, *lines = (folder / "train.tsv").read_text(encoding="utf-8").splitlines()
        chosen = lines[first :: len(lines) // LABELS or 2]
        return [head, *chosen[: JUDGES if first else LABELS]]

    def run(
        self,
        name: str,
        form: str,
        budget: int,
        seed: int,
        rate: float,
        tuning_rate: float | None = None,
    ) -> dict:
        """One cell: a pre-training, and what becomes of it with some labels.

        Args:
            tuning_rate: That of the fine-tuning; None does without it.
        """
        folder = self.work / name
        config = self.config(form, budget, rate, seed=seed, output=str(folder / "pretrained"))
        metrics = pretrained(config)
        cell = {
            "form": form,
            "options": FORMS[form],
            "budget": budget,
            "seed": seed,
            "rate": rate,
            "updates": metrics["updates"],
            "operations": self.operations(config),
            "seconds": training_seconds(config),
            "loss": metrics["val_loss"],
            "machine": cores(),
            "model": f"{LAYERS} layers, {config.bert_size.hidden_dim} wide",
            "batch": f"{PHASE['global_batch_size']} x {LENGTH} tokens",
            "labels": LABELS,
        }
        if tuning_rate is not None:
            tuned = folder / "tuned"
            cell["sst2"] = self.fine_tuned(config.output, tuned, tuning_rate, seed, self.judged)
            cell["tuning_rate"] = tuning_rate
        shutil.rmtree(folder)
        return cell

    def search_tuning(self, rate: float) -> dict:
        """Accuracies of full depth, fine-tuned at each of the rates, on the judges."""
        folder = self.work / TUNING
        output = str(folder / "pretrained")
        pretrained(self.config(FULL, min(BUDGETS), rate, seed=SEARCH_SEED, output=output))
        accuracies = {
            f"{tuning_rate:g}": self.fine_tuned(
                output, folder / f"{tuning_rate:g}", tuning_rate, SEARCH_SEED, self.judges
            )
            for tuning_rate in TUNING_RATES
        }
        shutil.rmtree(folder)
        return {"accuracies": accuracies, "judges": JUDGES}

    @property
    def judged(self) -> Path:
        """Sentences that the page's accuracies are of."""
        return self.judges if self.tiny else self.data / "glue" / "SST-2" / "dev.tsv"

    def config(
        self, form: str, budget: int, rate: float, **options: object
    ) -> tfbert.PretrainConfig:
        """The options of a pre-training: the most updates whose operations the budget allows."""

        def of(form, steps):
            phase = {**PHASE, "learning_rate": rate, "steps": steps}
            if self.tiny:
                phase["global_batch_size"] = 4
            small = {"hidden_dim": 16, "num_heads": 2, "eval_sequences": 8} if self.tiny else {}
            fixed = {"data": str(self.records), "output": "", **RECIPE, **small}
            return tfbert.PretrainConfig(**{**fixed, **FORMS[form], **options}, phases=[phase])

        # Full depth has so many, and no form has fewer: none costs more an update.
        least = (60 if self.tiny else PHASE["steps"]) * budget
        allowed = self.operations(of(FULL, least))
        counts = range(least, 10 * least)
        more = bisect.bisect_right(counts, allowed, key=lambda n: self.operations(of(form, n)))
        return of(form, counts[more - 1])

    def operations(self, config: tfbert.PretrainConfig) -> int:
        """Operations of a pre-training by the cost model."""
        source = open_records(config.data, LENGTH)
        size = config.bert_size
        words = len((self.work / "vocabulary.txt").read_text(encoding="utf-8").splitlines())
        costs = CostModel(size, words, config.max_sequence_length, False, config.optimizer)
        phases = with_layers(config.scaled_phases(), size.num_layers)
        _, total = forecast(costs, phases, [source.predictions] * len(phases))
        return total.flops

    def fine_tuned(
        self, model: str, output: Path, rate: float, seed: int, eval_data: Path
    ) -> float:
        """Accuracy on `eval_data` after the last epoch on the labels."""
        path = output / "metrics.json"
        if path.exists():
            return json.loads(path.read_text())["accuracy"]
        config = tfbert.FinetuneConfig(
            task="tsv",
            data=str(self.labelled),
            text_column="sentence",
            eval_data=str(eval_data),
            model=model,
            output=str(output),
            learning_rate=rate,
            seed=seed,
            progress=False,
            **FINE_TUNING,
        )
        return tfbert.finetune(config).metrics["accuracy"]


def pretrained(config: tfbert.PretrainConfig) -> dict:
    """The metrics of a pre-training, which is run unless it is there."""
    path = Path(config.output, "metrics.json")
    return json.loads(path.read_text()) if path.exists() else tfbert.pretrain(config).metrics


def training_seconds(config: tfbert.PretrainConfig) -> float:
    """Seconds of all updates at the speed of the run's own points.

    Compilation and evaluations are not in it.
    """
    points = read_curves(config.output)["sequences_per_second"]
    begin, seconds = 0, 0.0
    for phase in config.scaled_phases():
        end = begin + phase.steps
        speeds = [point.value for point in points if begin < point.update <= end]
        seconds += phase.steps * phase.global_batch_size / statistics.median(speeds)
        begin = end
    return seconds


if __name__ == "__main__":
    main()

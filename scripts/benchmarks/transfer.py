"""Does a laptop's pre-training transfer? Writes docs/benchmark_transfer.md and its picture.

    python scripts/benchmarks/transfer.py DATA [--starts NAME ...] [--work FOLDER] [--report]

DATA holds novels/, imdb/{unsup.txt,train.tsv}.gz and glue/SST-2/. Pre-trains on the novels
and the reviews, without their labels, by three recipes; then fine-tunes on 2,000 labels of SST-2
from these weights, from embeddings that were counted and not trained, and from random ones, and
measures on the 872 sentences of `dev.tsv`. Every number is a JSON file in docs/benchmark_transfer
and is not measured again; the page is written from all that is there, so that two processes can
share the starts, each on a core of its own (`taskset -c 0 python ...`). Some five hours of one core
with bfloat16 instructions. Needs matplotlib.
"""

import dataclasses
import gzip
import itertools
import os
import random
import shutil
import statistics
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import filelock
from scipy import stats
from shared.cells import Cells
from shared.intervals import CONFIDENCE, half_width
from shared.machine import cores
from shared.page import (
    DOCS,
    fail,
    make_parser,
    reached,
    require,
    save_figure,
    table,
    write_page,
)

import tfbert
from tfbert.io.whole import read_json, replacing, write_json
from tfbert.models.pretrainer import save_pretrainer
from tfbert.recipes.phase_model import make_new_model
from tfbert.records.description import read_dataset
from tfbert.records.prepare import prepare
from tfbert.records.reader import PretrainingRecords
from tfbert.records.record_options import PrepareConfig
from tfbert.records.record_source import open_records
from tfbert.runs.outputs.curves import read_curves
from tfbert.text.learn_vocabulary import learn_vocabulary
from tfbert.text.vocab_options import VocabConfig

MADE_WITH = "made_with.json"  # in the folder of what is not trained, the options of its recipe
SEEDS = (1, 2, 3, 4, 5)
LABELS = 2_000
EPOCHS = 6
RATES = (5e-5, 1e-4, 2e-4)  # every start tries all, and the best mean counts
VOCABULARY_SIZE = 16_000  # word pieces, learned from the text
LENGTHS = [64, 2_048]  # of the sequences to train on, and of those that documents are counted in
DROPOUT = 0.1  # in fine-tuning, for all starts alike; the recipes train without
WORDS_A_DOCUMENT = 800  # of the novels, which have no documents shorter than a book
RECIPES = {"above_counts": "documents_cpu", "masked": "mini_cpu", "wide": "small_cpu"}
# What is not trained: by start, the recipe whose model it is, and its `--embeddings`.
UNTRAINED = {
    "documents": ("documents_cpu", "documents"),
    "neighbours": ("mini_cpu", "cooccurrence"),
    "random": ("mini_cpu", "random"),
    "wide_neighbours": ("small_cpu", "cooccurrence"),
    "wide_random": ("small_cpu", "random"),
}
STARTS = (*RECIPES, *UNTRAINED)
TITLES = {
    "above_counts": "pre-trained by `documents_cpu`",
    "masked": "pre-trained by `mini_cpu`",
    "wide": "pre-trained by `small_cpu`",
    "documents": "counts of documents alone",
    "neighbours": "counts of neighbours alone",
    "random": "random embeddings",
    "wide_neighbours": "counts of neighbours alone, 512 wide",
    "wide_random": "random embeddings, 512 wide",
}
COMPARED = (
    *itertools.product(("above_counts", "masked"), ("documents", "neighbours", "random")),
    *itertools.product(("wide",), ("masked", "documents", "wide_neighbours", "wide_random")),
    ("documents", "neighbours"),
    ("neighbours", "random"),
)
# Of what was pre-trained over what was not, by its `--embeddings`, in points.
ASKED = {"documents": 3, "cooccurrence": 3, "random": 9}


def main():
    parser = make_parser(__doc__, "benchmark_transfer.md", "a few updates")
    parser.add_argument("data", type=Path, nargs="?", help="folder laid out as shared/data")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    parser.add_argument("--report", action="store_true", help="only write what is there")
    parser.add_argument("--results", type=Path, default=DOCS / "benchmark_transfer")
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"))
    arguments = parser.parse_args()
    if not (arguments.data or arguments.report):
        parser.error("DATA must be given")
    require("matplotlib")
    cells = Cells(arguments.results)
    if not arguments.report:
        bench = Bench(arguments.data, arguments.work.resolve(), arguments.tiny)
        bench.prepare()
        for start in arguments.starts:
            if start in RECIPES:
                cells.measure(f"pretrained-{start}", bench.pretrained, start)
            for rate, seed in itertools.product(bench.rates, bench.seeds):
                cells.measure(f"{start}-{rate:g}-{seed}", bench.fine_tuned, start, rate, seed)
    found = [read_json(path) for path in sorted(cells.folder.glob("*.json"))]
    pretrained = {cell["start"]: cell for cell in found if "curve" in cell}
    picture = arguments.output.with_suffix(".png")
    if pretrained:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(pretrained, picture)
    measured = [cell for cell in found if "curve" not in cell]
    write_page(arguments.output, report(pretrained, measured, picture.name))


@dataclasses.dataclass(frozen=True)
class Bench:
    """Pre-trains and fine-tunes.

    Args:
        data: Folder laid out as shared/data.
        work: Where text, records and models lie.
        tiny: A few updates, two seeds and one rate, to try the script.
    """

    data: Path
    work: Path
    tiny: bool

    @property
    def seeds(self):
        return SEEDS[:2] if self.tiny else SEEDS

    @property
    def rates(self):
        return RATES[:1] if self.tiny else RATES

    @property
    def records(self):
        return self.work / "records"

    @property
    def labelled(self):
        """The table of the sentences to fine-tune on."""
        return self.work / "sst2.tsv"

    def prepare(self):
        """Makes text, vocabulary, records and labelled sentences, each unless it is there; one
        process at a time."""
        self.work.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.work / "prepare.lock"):
            text, pieces = self.work / "text.txt", self.work / "vocab.txt"
            if not text.exists():
                with replacing(text) as temporary, temporary.open("w", encoding="utf-8") as file:
                    file.writelines(f"{document}\n" for document in self.documents())
            if not pieces.exists():
                learn_vocabulary(VocabConfig([str(text)], str(pieces), VOCABULARY_SIZE))
            prepare(
                PrepareConfig(
                    [text], str(self.records), str(pieces), sequences="filled", lengths=LENGTHS
                )
            )
            lines = (self.data / "glue" / "SST-2" / "train.tsv").read_text("utf-8").splitlines()
            chosen = random.Random(0).sample(lines[1:], LABELS)
            self.labelled.write_text("\n".join([lines[0], *chosen]) + "\n", encoding="utf-8")

    def documents(self):
        """The reviews, and the novels in pieces of whole paragraphs; one document a line."""
        for path in sorted((self.data / "novels").glob("*.txt"))[: 1 if self.tiny else None]:
            piece = []
            for paragraph in path.read_text(encoding="utf-8-sig").split("\n\n"):
                piece += paragraph.split()
                if len(piece) >= WORDS_A_DOCUMENT:
                    yield " ".join(piece)
                    piece = []
            yield " ".join(piece)
        for name in ("unsup.txt.gz", "train.tsv.gz"):
            with gzip.open(self.data / "imdb" / name, "rt", encoding="utf-8") as file:
                for line in itertools.islice(file, 200 if self.tiny else None):
                    # The text is the last of the columns; the labels are not read.
                    yield line.rstrip("\n").split("\t")[-1].replace("<br />", " ").strip()

    def config(self, recipe, start):
        """The options of a pre-training whose folder has the name of a start."""
        config = tfbert.PretrainConfig.from_recipe(
            recipe, data=str(self.records), output=str(self.work / start)
        )
        if not self.tiny:
            return config
        phases = [dataclasses.replace(phase, steps=4) for phase in config.phases]
        return dataclasses.replace(config, phases=phases)

    def pretrained(self, start):
        """What a recipe's pre-training came to; a run that is there is not repeated."""
        config = self.config(RECIPES[start], start)
        run = Path(config.output)
        if (run / "metrics.json").exists():
            recorded = tfbert.PretrainConfig.from_recipe(str(run / "config.yaml"))
            if dataclasses.replace(recorded, output=config.output) != config:
                fail(f"{run}: was trained with other options than {RECIPES[start]}: delete it")
            metrics = read_json(run / "metrics.json")
        else:
            metrics = tfbert.pretrain(config).metrics
        curve = read_curves(run, "evaluation")["loss"]
        size = config.bert_size
        return {
            "start": start,
            "size": f"{size.num_layers} layers, {size.hidden_dim} wide",
            "updates": metrics["updates"],
            "sequences": metrics["sequences"],
            "length": config.phases[-1].sequence_length,
            "minutes": metrics["seconds"] / 60,
            "cores": len(os.sched_getaffinity(0)),
            "loss": metrics["val_loss"],
            "machine": cores(),
            "curve": [[point.update, point.value] for point in curve],
        }

    def model(self, start):
        """Where the model lies; one without training is a recipe's before its first update.

        That of documents is `documents_cpu`'s, whose embeddings are as long as is best untrained.
        """
        folder = self.work / start
        if start in RECIPES:
            return str(folder)
        recipe, embeddings = UNTRAINED[start]
        config = dataclasses.replace(self.config(recipe, start), embeddings=embeddings)
        made_with = dataclasses.asdict(dataclasses.replace(config, output=start))
        if not folder.exists():
            import keras

            keras.utils.set_random_seed(config.seed)
            phase = config.phases[0]
            records = PretrainingRecords(
                open_records(config.data, phase.sequence_length), phase.global_batch_size
            )
            options = read_dataset(config.data)["options"]
            layers = config.bert_size.num_layers
            model, tokenizer = make_new_model(config, options, records, "float32", layers)
            with replacing(folder) as temporary:
                save_pretrainer(model, tokenizer, temporary)
                write_json(Path(temporary) / MADE_WITH, made_with)
        elif not (folder / MADE_WITH).exists() or read_json(folder / MADE_WITH) != made_with:
            fail(f"{folder}: was made with other options than {recipe}: delete it")
        return str(folder)

    def fine_tuned(self, start, rate, seed):
        """One cell: the accuracy after the last epoch on the labels."""
        output = self.work / f"sst2-{start}-{rate:g}-{seed}"
        config = tfbert.FinetuneConfig(
            task="tsv",
            data=str(self.labelled),
            eval_data=str(self.data / "glue" / "SST-2" / "dev.tsv"),
            text_column="sentence",
            model=self.model(start),
            output=str(output),
            epochs=1 if self.tiny else EPOCHS,
            learning_rate=rate,
            dropout=DROPOUT,
            keep_epoch="last",  # the evaluation examples choose nothing
            seed=seed,
            progress=False,
        )
        path = Path(output) / "metrics.json"  # there where somebody stopped it just before its end
        metrics = read_json(path) if path.exists() else tfbert.finetune(config).metrics
        shutil.rmtree(output)
        return {"start": start, "rate": rate, "seed": seed, "accuracy": metrics["accuracy"]}


def draw(pretrained, path):
    """The loss on held-out text of each pre-training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (4.5 * len(pretrained), 3.5)
    figure, axes = pyplot.subplots(
        1, len(pretrained), figsize=size, layout="constrained", squeeze=False
    )
    for axis, (start, cell) in zip(axes[0], pretrained.items(), strict=True):
        axis.plot(*zip(*cell["curve"], strict=True))
        axis.set_title(f"{RECIPES[start]}: loss of masked tokens, nats", fontsize=10)
        axis.set_xlabel("updates")
        axis.grid(alpha=0.3)
    save_figure(figure, path)


def report(pretrained, measured, picture):
    """The page, as Markdown."""
    results = {}  # by start and rate, the accuracies by seed
    for cell in measured:
        by_rate = results.setdefault(cell["start"], {})
        by_rate.setdefault(cell["rate"], {})[cell["seed"]] = cell["accuracy"]
    seeds = sorted({cell["seed"] for cell in measured})
    rows = [
        [TITLES[start], f"{rate:g}", *cells_of(by_seed, seeds)]
        for start in STARTS
        for rate, by_seed in sorted(results.get(start, {}).items())
    ]
    best = {
        start: max(([*by_seed.values()] for by_seed in by_rate.values()), key=statistics.mean)
        for start, by_rate in results.items()
    }
    heads = ["start", "rate", *(f"seed {seed}" for seed in seeds), "mean, 95 % interval"]
    compared = [gain(best, *pair) for pair in COMPARED if set(pair) <= set(best)]
    return f"""# Pre-training on a laptop, and whether it transfers

Written by `python scripts/benchmarks/transfer.py DATA`; the numbers lie in
`docs/{Path(picture).stem}/`. 33 novels and 75,000 film reviews without their labels,
{VOCABULARY_SIZE:,} word pieces learned from them (`tfbert vocab`):

{chr(10).join(pretraining_lines(pretrained))}

`--embeddings documents` and `cooccurrence` ([pretraining.md](pretraining.md)) count the same text,
and what they bring without any training is *{TITLES["documents"]}* and *{TITLES["neighbours"]}*.

{f"![curves]({picture})" if pretrained else ""}

SST-2 from {LABELS:,} labels of its training part, {EPOCHS} epochs, the last of which counts;
accuracy on the 872 sentences of `dev.tsv`, on which nothing was chosen but each start's best rate
of the same {len(RATES)}. How documents are counted, the recipes and the vocabulary were chosen on
whole sentences of the training part, those that hold no labelled phrase of three words or more
(those of `small_cpu` were assumed, and no others tried):

{chr(10).join(table(heads, rows))}

In points, every start at its best rate, with the 95 % interval over the seeds (Student's t; a run
near 0.5 has collapsed):

{chr(10).join(compared)}
"""


def cells_of(by_seed, seeds):
    """A row's accuracies, and their mean."""
    yield from (f"{by_seed[seed]:.4f}" if seed in by_seed else "" for seed in seeds)
    accuracies = [*by_seed.values()]
    around = f" ± {half_width(accuracies):.4f}" if len(accuracies) > 1 else ""
    yield f"{statistics.mean(accuracies):.4f}{around}"


def pretraining_lines(pretrained):
    """A line on each pre-training that was measured."""
    for start in RECIPES:
        if cell := pretrained.get(start):
            yield (
                f"- recipe `{RECIPES[start]}`: {cell['size']}, "
                f"{cell['updates']:,} updates, {cell['sequences']:,} sequences of "
                f"{cell['length']}; {cell['minutes']:.0f} minutes on {cell['cores']} of "
                f"{cell['machine']}. Loss of masked tokens of held-out text at the end: "
                f"{cell['loss']:.3f}."
            )


def gain(best, start, other):
    """A line on how far one start is above another."""
    ours, theirs = best[start], best[other]
    points = 100 * (statistics.mean(ours) - statistics.mean(theirs))
    interval = stats.ttest_ind(ours, theirs).confidence_interval(CONFIDENCE)  # Student's t
    low, high = (100 * end for end in interval)
    is_asked = start in RECIPES and other in UNTRAINED
    asked = ASKED[UNTRAINED[other][1]] if is_asked else None
    goal = f"; asked: {asked}, {reached(points >= asked)}" if asked else ""
    found = f"**{points:+.1f}** ({low:+.1f} to {high:+.1f})"
    return f"- {TITLES[start]} over {TITLES[other]}: {found}{goal}"


if __name__ == "__main__":
    main()

"""Does a laptop's pre-training transfer? Writes docs/benchmark_transfer.md and its picture.

    python scripts/benchmarks/transfer.py DATA [--work FOLDER]

DATA holds novels/, imdb/{unsup.txt,train.tsv}.gz and glue/SST-2/. Pre-trains on the novels and the
reviews, without their labels, by the recipe; then fine-tunes on 2,000 labels of SST-2 from the
pre-trained weights, from embeddings that were counted and not trained, and from random ones, and
measures on the 872 sentences of `dev.tsv`. What is in FOLDER already is not done again. About two
hours on 2 cores. Needs matplotlib.
"""

import dataclasses
import gzip
import itertools
import json
import os
import random
import statistics
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from scipy import stats
from shared.intervals import CONFIDENCE
from shared.page import make_parser, require, save_figure, table, write_page

import tfbert
from tfbert.io.whole import replacing
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

RECIPE = "documents_cpu"
SEEDS = (1, 2, 3, 4, 5)
LABELS = 2_000
EPOCHS = 6
RATES = (5e-5, 1e-4, 2e-4)  # every start tries all, and the best mean counts
VOCABULARY_SIZE = 8_000
LENGTHS = [32, 2_048]  # of the recipe's sequences, and of those that documents are counted in
DROPOUT = 0.1  # in fine-tuning, for all starts alike; the recipe trains without
WORDS_A_DOCUMENT = 800  # of the novels, which have no documents shorter than a book
PRETRAINED, DOCUMENTS, NEIGHBOURS = "pre-trained", "documents alone", "co-occurrence alone"
# What is not trained: by start, its `--embeddings`. The pre-training begins with the documents.
UNTRAINED = {NEIGHBOURS: "cooccurrence", DOCUMENTS: "documents", "random": "random"}
COMPARED = (
    (PRETRAINED, NEIGHBOURS),
    (PRETRAINED, DOCUMENTS),
    (PRETRAINED, "random"),
    (DOCUMENTS, NEIGHBOURS),
    (NEIGHBOURS, "random"),
)


def main():
    parser = make_parser(__doc__, "benchmark_transfer.md", "a few updates")
    parser.add_argument("data", type=Path, help="folder with novels, imdb and glue/SST-2")
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"))
    arguments = parser.parse_args()
    require("matplotlib")
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    records = make_records(arguments.data, work, arguments.tiny)
    config = tfbert.PretrainConfig.from_recipe(
        RECIPE,
        [("phases.0.steps", 4)] if arguments.tiny else (),
        data=str(records),
        output=str(work / "pretrained"),
    )
    pretrained = pretraining_metrics(config)
    models = {PRETRAINED: work / "pretrained"}
    for start, embeddings in UNTRAINED.items():
        models[start] = untrained(config, embeddings, work / embeddings)
    results = fine_tuned(models, arguments.data / "glue" / "SST-2", work, arguments.tiny)
    picture = arguments.output.with_suffix(".png")
    draw(read_curves(work / "pretrained", "evaluation"), picture)
    write_page(arguments.output, report(config, pretrained, results, picture.name))


def make_records(data, work, tiny):
    """Text, vocabulary and training records, each made unless it is there."""
    text, vocabulary, records = work / "text.txt", work / "vocabulary.txt", work / "records"
    if not text.exists():
        with replacing(text) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(f"{document}\n" for document in documents(data, tiny))
    if not vocabulary.exists():
        learn_vocabulary(VocabConfig([text], vocabulary, VOCABULARY_SIZE))
    prepare(
        PrepareConfig([text], str(records), str(vocabulary), sequences="filled", lengths=LENGTHS)
    )
    return records


def documents(data, tiny):
    """The reviews, and the novels in pieces of whole paragraphs; one document a line."""
    for path in sorted((data / "novels").glob("*.txt"))[: 1 if tiny else None]:
        piece = []
        for paragraph in path.read_text(encoding="utf-8-sig").split("\n\n"):
            piece += paragraph.split()
            if len(piece) >= WORDS_A_DOCUMENT:
                yield " ".join(piece)
                piece = []
        yield " ".join(piece)
    for name in ("unsup.txt.gz", "train.tsv.gz"):
        with gzip.open(data / "imdb" / name, "rt", encoding="utf-8") as file:
            for line in itertools.islice(file, 200 if tiny else None):
                # The text is the last of the columns; the labels are not read.
                yield line.rstrip("\n").split("\t")[-1].replace("<br />", " ").strip()


def pretraining_metrics(config):
    """The `metrics.json` of the pre-training, which is run unless it is there."""
    path = Path(config.output) / "metrics.json"
    return json.loads(path.read_text()) if path.exists() else tfbert.pretrain(config).metrics


def untrained(config, embeddings, directory):
    """Saves the model before the first update of the recipe, with those embeddings."""
    if not directory.exists():
        import keras

        config = dataclasses.replace(config, embeddings=embeddings)
        keras.utils.set_random_seed(config.seed)
        phase = config.phases[0]
        records = PretrainingRecords(
            open_records(config.data, phase.sequence_length), phase.global_batch_size
        )
        options = read_dataset(config.data)["options"]
        layers = config.bert_size.num_layers
        model, tokenizer = make_new_model(config, options, records, "float32", layers)
        with replacing(directory) as temporary:
            save_pretrainer(model, tokenizer, temporary)
    return directory


def fine_tuned(models, task, work, tiny):
    """By start and learning rate, the accuracies of all seeds."""
    lines = (task / "train.tsv").read_text(encoding="utf-8").splitlines()
    chosen = random.Random(0).sample(lines[1:], LABELS)
    part = work / "sst2_part.tsv"
    part.write_text("\n".join([lines[0], *chosen]) + "\n", encoding="utf-8")

    def accuracy(start, rate, seed):
        run = work / f"sst2_{models[start].name}_{rate:g}_{seed}"
        path = run / "metrics.json"
        if not path.exists():
            config = tfbert.FinetuneConfig(
                task="tsv",
                data=str(part),
                eval_data=str(task / "dev.tsv"),
                text_column="sentence",
                model=str(models[start]),
                output=str(run),
                epochs=1 if tiny else EPOCHS,
                learning_rate=rate,
                dropout=DROPOUT,
                keep_epoch="last",  # the evaluation examples choose nothing
                seed=seed,
                progress=False,
            )
            tfbert.finetune(config)
        return json.loads(path.read_text())["accuracy"]

    seeds, rates = (SEEDS[:2], RATES[:1]) if tiny else (SEEDS, RATES)
    return {
        start: {rate: [accuracy(start, rate, seed) for seed in seeds] for rate in rates}
        for start in models
    }


def draw(points, path):
    """Loss and accuracy of masked tokens on held-out text."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, (name, title) in zip(
        axes, (("loss", "loss, nats"), ("accuracy", "accuracy")), strict=True
    ):
        axis.plot([p.update for p in points[name]], [p.value for p in points[name]])
        axis.set_title(f"Masked tokens of held-out text: {title}", fontsize=10)
        axis.set_xlabel("updates")
        axis.grid(alpha=0.3)
    save_figure(figure, path)


def report(config, pretrained, results, picture):
    """The page, as Markdown."""
    rows = [
        [start, f"{rate:g}"] + [f"{v:.4f}" for v in (*accuracies, statistics.mean(accuracies))]
        for start, by_rate in results.items()
        for rate, accuracies in by_rate.items()
    ]
    best = {start: max(by_rate.values(), key=statistics.mean) for start, by_rate in results.items()}
    seeds = len(rows[0]) - 3  # of a row's cells, three are something else
    heads = ["start", "rate", *(f"seed {seed}" for seed in SEEDS[:seeds]), "mean"]
    size = config.bert_size
    return f"""# Pre-training on a laptop, and whether it transfers

Written by `python scripts/benchmarks/transfer.py DATA`. The recipe `{RECIPE}`
({size.num_layers} layers, {size.hidden_dim} wide, {VOCABULARY_SIZE:,} word pieces) on 33 novels
and 75,000 film reviews without their labels: {pretrained["updates"]:,} updates,
{pretrained["sequences"]:,} sequences, {pretrained["seconds"] / 60:.1f} minutes on
{os.cpu_count()} cores. Masked tokens of held-out text at the end: loss
{pretrained["val_loss"]:.3f}, accuracy {pretrained["val_accuracy"]:.3f}. The recipe begins
with token embeddings from the counts of documents (`--embeddings documents`,
[pretraining.md](pretraining.md)). What these bring without any training is *{DOCUMENTS}*; counts of
neighbours (`--embeddings cooccurrence`) without training are *{NEIGHBOURS}*.

![curves]({picture})

SST-2 from {LABELS:,} labels of its training part, {EPOCHS} epochs, the last of which counts;
accuracy on the 872 sentences of `dev.tsv`, on which nothing was chosen but each start's best rate
of the same {len(RATES)}. How documents are counted, and the recipe, were chosen on 4,050 whole
sentences of the training part that hold no labelled phrase of three words or more:

{chr(10).join(table(heads, rows))}

In points, every start at its best rate, with the 95 % interval over the seeds (Student's t; a run
near 0.5 has collapsed):

{chr(10).join(gain(best, *pair) for pair in COMPARED)}
"""


def gain(best, start, other):
    """A line on how far one start is above another."""
    ours, theirs = best[start], best[other]
    points = 100 * (statistics.mean(ours) - statistics.mean(theirs))
    interval = stats.ttest_ind(ours, theirs).confidence_interval(CONFIDENCE)  # Student's t
    low, high = (100 * end for end in interval)
    return f"- {start} over {other}: **{points:+.1f}** ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()

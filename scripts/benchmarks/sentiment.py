"""How much faster sentiment classifiers train, step by step; writes docs/benchmark_sentiment.md.

    python scripts/benchmarks/sentiment.py --data DATA [--task TASK] [--model MODEL]
        [--train-examples N] [--epochs N] [--steps N] [--rows ROW ...]
        [--accuracy] [--shuffling] [--predict] [--pipeline] [--report]
    python scripts/benchmarks/sentiment.py --quick

Without one of the last five options the speed of every row is measured, with some of them only what
they name: --accuracy trains every row over the seeds, --shuffling trains one model on batches by
length and on uniformly shuffled ones, --predict compares predictions of 20,000 sentences,
--pipeline measures the input pipeline alone, --report writes the documents only. Rows take turns.
DATA is the task's own file or folder, as `tfbert finetune` takes it, or a folder laid out as
shared/data. Every number is a JSON file in docs/benchmark_sentiment and is not measured again, so
that an interrupted benchmark goes on where it was; the documents show all that is there, of all
tasks. --quick tries all of it in a minute on the embedded model, in runs/benchmark_sentiment.
"""

import hashlib
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from sentiment_measures import (
    Speed,
    padding_difference,
    pipeline,
    prediction_forms,
    predictions,
    train,
)
from sentiment_report import write_report
from sentiment_rows import LADDER, QUICK, ROWS, SHUFFLING, padded_tokens, settings_of
from shared.cells import Cells
from shared.machine import hardware, versions
from shared.page import DOCS, REPOSITORY, fail, make_parser, positive, require
from shared.turns import in_turns

from tfbert.errors import InputError
from tfbert.hardware.precision import choose_precision
from tfbert.tasks.known_tasks import TASKS

SEEDS = (1, 2, 3)
PARTS = ("accuracy", "shuffling", "predict", "pipeline")


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--data", help="the task's file or folder, or one laid out as shared/data")
    parser.add_argument("--task", choices=TASKS, default="sst2")
    parser.add_argument("--text-column", help="of a csv, tsv or jsonl file")
    parser.add_argument("--label-column", help="of a csv, tsv or jsonl file")
    parser.add_argument("--model", help="where to start; minilm of a shared DATA, else `embedded`")
    parser.add_argument("--batch-size", type=positive, help="by default 32, of movie_reviews 8")
    parser.add_argument("--max-length", type=positive, help="by default the task's")
    parser.add_argument("--train-examples", type=positive, help="train on so many, drawn at random")
    parser.add_argument("--epochs", type=positive, help="by default the task's")
    parser.add_argument("--steps", type=positive, default=200, help="measured steps of each row")
    parser.add_argument("--rounds", type=positive, default=4, help="turns for these steps")
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="only these")
    parser.add_argument("--seeds", type=positive, nargs="+", default=SEEDS)
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--report", action="store_true", help="write the documents only")
    parser.add_argument("--sentences", type=positive, default=20_000, help="for --predict")
    parser.add_argument("--quick", action="store_true", help="tiny data, to try it")
    parser.add_argument("--results", type=Path, help="docs/benchmark_sentiment by default")
    parser.add_argument("--docs", type=Path, help="where the documents go; docs by default")
    options = parser.parse_args()
    if unused := [row for row in options.rows or () if row not in rows_of(options)]:
        parser.error(f"--rows {' '.join(unused)}: the other options measure no such row")
    require("matplotlib")
    quick_docs = REPOSITORY / "runs" / "benchmark_sentiment"
    options.docs = options.docs or (quick_docs if options.quick else DOCS)
    options.results = options.results or options.docs / "benchmark_sentiment"
    if options.quick:
        setting = QUICK
        options.steps, options.rounds, options.seeds, options.sentences = 4, 2, (1,), 32
    elif options.data is None and options.task != "embedded" and not options.report:
        parser.error("--data or --quick must be given")
    else:
        setting = settings_of(
            options.task,
            options.data,
            options.model,
            max_length=options.max_length,
            train_limit=options.train_examples,
            epochs=options.epochs,
            batch_size=options.batch_size,
            columns=(options.text_column, options.label_column),
        )
    try:
        if not options.report:
            run(setting, options)
        write_report(options.results, options.docs)
    except InputError as error:
        fail(error)
    except KeyboardInterrupt:
        print("sentiment.py: stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None


def rows_of(options):
    """The rows that the options can measure."""
    if options.quick or options.report:
        return ROWS
    chosen = {part for part in PARTS if getattr(options, part)}
    ladder = LADDER if "accuracy" in chosen or not chosen else {}
    return ladder | (SHUFFLING if "shuffling" in chosen else {})


def run(setting, options):
    """Measures what the options ask for and is not there yet."""
    name = f"{setting.task}-{setting.max_length}-{Path(setting.model).name}"
    if options.batch_size:
        name += f"-batch-{setting.batch_size}"
    if setting.train_limit:
        name += f"-{setting.train_limit}"
    if options.epochs:
        name += f"-epochs-{setting.epochs}"
    cells = Cells(options.results / name)
    cells.require_setting(describe(setting))
    chosen = [part for part in PARTS if getattr(options, part) or options.quick]
    if not chosen or options.quick:
        measure_speed(cells, setting, options)
    if "accuracy" in chosen:
        measure_accuracy(cells, setting, LADDER, options)
    if "shuffling" in chosen:
        measure_accuracy(cells, setting, SHUFFLING, options)
    if "predict" in chosen:
        measure_predict(cells, setting, options)
    if "pipeline" in chosen:
        cells.measure("pipeline", pipeline, setting)


def describe(setting):
    """What the report says about the setting."""
    (texts, _), (held_out, _), classes = setting.examples
    return {
        "task": setting.task,
        "model": Path(setting.model).name,
        "weights": digest(setting.model),
        "max_length": setting.max_length,
        "batch_size": setting.batch_size,
        "epochs": setting.epochs,
        "learning_rate": setting.learning_rate,
        "classes": classes,
        "training_examples": len(texts),
        "evaluation_examples": len(held_out),
        "mean_tokens": float(setting.train_tokens.lengths.mean()),
        "padded_tokens": {key: padded_tokens(row, setting) for key, row in LADDER.items()},
        "auto": choose_precision("auto"),
        "machine": f"{hardware()}, Python {platform.python_version()}, "
        + versions("TensorFlow", "Keras", "KerasHub"),
    }


def digest(model):
    """Tells the files of a model from others; a name stands for itself."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def chosen_rows(rows, options):
    """The rows asked for; by default all, but for mixed precision where bfloat16 is slow."""
    if options.rows:
        return {key: row for key, row in rows.items() if key in options.rows}
    none = "mixed" if choose_precision("auto") == "float32" and not options.quick else None
    return {key: row for key, row in rows.items() if key != none}


def measure_speed(cells, setting, options):
    """Every row, a part of its steps at a time, in turns."""
    steps = -(-options.steps // options.rounds)
    speeds = {key: Speed(row, setting) for key, row in chosen_rows(LADDER, options).items()}
    for number, (key, speed) in in_turns(list(speeds.items()), options.rounds):
        cells.measure(f"speed-{key}-{steps}x{number}", speed.measure, steps, number)


def measure_accuracy(cells, setting, rows, options):
    """Every row that is trained, over the seeds, in turns."""
    for seed in options.seeds:
        for key, row in chosen_rows(rows, options).items():
            if row.trained_as is None:
                cells.measure(f"{row.accuracy_cells(key)}{seed}", train, row, setting, seed)
                keras.backend.clear_session()
    if "stock" in chosen_rows(rows, options):
        cells.measure("padding", padding_difference, setting)


def measure_predict(cells, setting, options):
    """Stock `predict` and ours on the same sentences and weights, in turns."""
    texts = setting.examples[0][0][: options.sentences]
    parts = np.array_split(np.arange(len(texts)), options.rounds)
    names = [f"predict-{len(texts)}-{options.rounds}x{number}" for number in range(len(parts))]
    if all(map(cells.has, names)):
        return
    forms = prediction_forms(setting)
    for name, part in zip(names, parts, strict=True):
        cells.measure(name, predictions, forms, [texts[i] for i in part])


if __name__ == "__main__":
    main()

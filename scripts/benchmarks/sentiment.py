"""How much faster sentiment classifiers train, step by step; writes docs/benchmark_sentiment.md.

    python scripts/benchmarks/sentiment.py --data DATA [--task sst2|imdb|movie_reviews]
        [--model MODEL] [--train-examples N] [--epochs N] [--steps N]
        [--accuracy] [--shuffling] [--predict] [--pipeline] [--report]
    python scripts/benchmarks/sentiment.py --quick --results FOLDER --docs FOLDER

Without one of the last five options the speed of every row is measured, with some of them only what
they name: --accuracy trains every row over the seeds, --shuffling trains one model on batches by
length and on uniformly shuffled ones, --predict compares predictions of 20,000 sentences,
--pipeline measures the input pipeline alone, --report writes the documents only. Rows take turns.
DATA is laid out as shared/data. Every number is a JSON file in docs/benchmark_sentiment and is not
measured again, so that an interrupted benchmark goes on where it was; the documents show all that
is there, of all tasks. --quick tries all of it in a minute on the embedded model.
"""

import argparse
import hashlib
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from sentiment_report import write_report
from sentiment_rows import (
    LADDER,
    PREDICT_UPDATES,
    QUICK,
    ROWS,
    SHUFFLING,
    Row,
    Speed,
    make_model,
    padded_tokens,
    settings_of,
    train,
    training_batches,
)

from tfbert.data.token_cache import tokenize_once
from tfbert.data.tokenization import tokenize
from tfbert.files import read_json, write_json
from tfbert.models.classifier import BertClassifier, TrainedClassifier
from tfbert.models.encoder import copy_weights, from_stock
from tfbert.training.precision import POLICIES, choose_precision
from tfbert.training.predict import predict_texts

REPOSITORY = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3)
PREDICT_BATCH = 64
PARTS = ("accuracy", "shuffling", "predict", "pipeline")


class Cells:
    """Measured numbers, a JSON file each.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder):
        self.folder = folder

    def measure(self, name, function, *arguments):
        """The result of `function(*arguments)`, a dict; from its file where there is one."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            print(name, flush=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, function(*arguments))
        return read_json(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder laid out as shared/data")
    parser.add_argument("--task", choices=("sst2", "imdb", "movie_reviews"), default="sst2")
    parser.add_argument("--model", help="where to start; DATA/minilm by default")
    parser.add_argument("--max-length", type=int, help="by default the task's")
    parser.add_argument("--train-examples", type=int, help="train on so many, drawn at random")
    parser.add_argument("--epochs", type=int, help="by default the task's")
    parser.add_argument("--steps", type=int, default=200, help="measured steps of each row")
    parser.add_argument("--rounds", type=int, default=4, help="turns that these are divided into")
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="only these")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--report", action="store_true", help="write the documents only")
    parser.add_argument("--sentences", type=int, default=20_000, help="for --predict")
    parser.add_argument("--quick", action="store_true", help="tiny data, to try it")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "docs/benchmark_sentiment")
    parser.add_argument("--docs", type=Path, default=REPOSITORY / "docs")
    options = parser.parse_args()
    if options.quick:
        setting = QUICK
        options.steps, options.rounds, options.seeds, options.sentences = 4, 2, (1,), 32
    elif options.data is None and not options.report:
        parser.error("--data or --quick must be given")
    else:
        data = options.data or "."
        words = (options.model, options.max_length, options.train_examples, options.epochs)
        setting = settings_of(options.task, data, *words)
    if not options.report:
        run(setting, options)
    write_report(options.results, options.docs)


def run(setting, options):
    """Measures what the options ask for and is not there yet."""
    name = f"{setting.task}-{setting.max_length}-{Path(setting.model).name}"
    if setting.train_limit:
        name += f"-{setting.train_limit}"
    if options.epochs:
        name += f"-epochs-{setting.epochs}"
    cells = Cells(options.results / name)
    known, here = cells.measure("setting", describe, setting), describe(setting)
    if different := [key for key in here if known.get(key) != here[key]]:
        print(
            f"{cells.folder}: its numbers are of another {', another '.join(different)}; give "
            "another folder with --results, or delete this one",
            file=sys.stderr,
        )
        raise SystemExit(2)
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
    processor = platform.processor() or platform.machine()
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
        "machine": f"{os.cpu_count()} cores ({processor}), Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, KerasHub {keras_hub.__version__}",
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
    for number in range(options.rounds):
        for key, speed in speeds.items():
            cells.measure(f"speed-{key}-{steps}x{number}", speed.measure, steps, number)


def measure_accuracy(cells, setting, rows, options):
    """Every row that is trained, over the seeds, in turns."""
    for seed in options.seeds:
        for key, row in chosen_rows(rows, options).items():
            if row.trained_as is None:
                cells.measure(f"accuracy-{key}-{seed}", train, row, setting, seed)
                keras.backend.clear_session()


def measure_predict(cells, setting, options):
    """Stock `predict` and ours on the same sentences and weights, in turns."""
    texts = setting.examples[0][0][: options.sentences]
    parts = np.array_split(np.arange(len(texts)), options.rounds)
    names = [f"predict-{len(texts)}-{options.rounds}x{number}" for number in range(len(parts))]
    if all((cells.folder / f"{name}.json").exists() for name in names):
        return
    stock = make_model(LADDER["stock"], setting, 1, preprocessed=False)
    tuned = make_model(LADDER["adam"], setting, 1, preprocessed=True)
    source = training_batches(LADDER["adam"], setting, 1)
    updates = min(PREDICT_UPDATES, source.steps_per_epoch)
    tuned.fit(source.dataset(0, 0), steps_per_epoch=updates, verbose=0)
    copy_weights(tuned, stock)
    forms = {"stock": lambda texts: stock.predict(texts, PREDICT_BATCH, verbose=0)}
    for precision in dict.fromkeys(("float32", choose_precision("auto"))):
        backbone = from_stock(stock.backbone, dtype=POLICIES[precision])
        model = BertClassifier(backbone, setting.examples[2])
        copy_weights(stock, model)
        labels = [str(number) for number in range(setting.examples[2])]
        trained = TrainedClassifier(model, setting.tokenizer, labels, setting.max_length)
        forms[f"tfbert, {precision}"] = lambda texts, trained=trained: predict_texts(
            trained, texts, PREDICT_BATCH
        )
    for form in forms.values():
        form(texts[: PREDICT_BATCH + 1])  # makes the graph
    for name, part in zip(names, parts, strict=True):
        cells.measure(name, predictions, forms, [texts[i] for i in part])


def predictions(forms, texts):
    """Seconds of each form; what differs from stock's answers.

    `difference` is the largest in the probability of a label that both give, `changed` the number
    of other labels.
    """
    result = {}
    for name, form in forms.items():
        began = time.perf_counter()
        answers = form(texts)
        result[name] = {"seconds": time.perf_counter() - began, "examples": len(texts)}
        if name == "stock":
            logits = np.float64(answers)
            odds = np.exp(logits - logits.max(-1, keepdims=True))
            expected, labels = (odds / odds.sum(-1, keepdims=True)).max(-1), logits.argmax(-1)
        else:
            found = np.array([answer["probability"] for answer in answers])
            same = np.array([int(answer["label"]) for answer in answers]) == labels
            result[name]["difference"] = float(np.abs(found - expected)[same].max(initial=0.0))
            result[name]["changed"] = int((~same).sum())
    return result


def pipeline(setting):
    """Seconds of the parts of the input pipeline for one pass over the training examples."""
    texts = setting.examples[0][0]
    seconds = {}

    def timed(name, function, *arguments):
        began = time.perf_counter()
        result = function(*arguments)
        seconds[name] = time.perf_counter() - began
        return result

    tokenize(setting.tokenizer, texts[:10], setting.max_length)  # makes the graph
    timed("tokenize", tokenize, setting.tokenizer, texts, setting.max_length)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tokenize and write the cache", "read the cache"):
            timed(name, tokenize_once, setting.tokenizer, texts, setting.max_length, folder)
    source = training_batches(Row("batches"), setting, 1)

    def batches():
        for _ in source.dataset(0, 0).prefetch(tf.data.AUTOTUNE).take(source.steps_per_epoch):
            pass

    timed("make batches", batches)
    return {"examples": len(texts), "seconds": seconds}


if __name__ == "__main__":
    main()

"""What `sentiment.py` measures: speed, accuracy, predictions, the input pipeline."""

import dataclasses
import itertools
import tempfile
import time
from typing import Any

import keras_hub
import numpy as np
import tensorflow as tf
from sentiment_rows import (
    LADDER,
    Row,
    batch_size_of,
    make_model,
    padded_length,
    training_batches,
)
from shared.turns import Clock

from tfbert.hardware.precision import choose_precision
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import copy_weights, from_stock
from tfbert.models.layers.word_table import OccurringWords
from tfbert.models.trained_model import TrainedModel
from tfbert.runs.predict import predict_texts
from tfbert.runs.scoring import policy_of
from tfbert.tasks.problems.classification import Classification
from tfbert.tasks.tokens.batch_sources import prediction_dataset
from tfbert.tasks.tokens.batching import LengthBatches
from tfbert.tasks.tokens.token_cache import tokenize_once
from tfbert.tasks.tokens.tokenization import tokenize

PREDICT_BATCH = 64
UPDATES_BEFORE = 50  # of a model whose answers are compared: an untrained head's are all alike
PADDING_TEXTS = 256


@dataclasses.dataclass(frozen=True)
class Planned:
    """These batches in every epoch."""

    batches: list

    @property
    def steps(self):
        return len(self.batches)

    def epoch(self, number):
        return self.batches


@dataclasses.dataclass
class Speed:
    """A row whose speed is measured a few steps at a time."""

    row: Row
    setting: Any
    _model: Any = None
    _words: Any = None
    _ready: set = dataclasses.field(default_factory=set)  # padded lengths that were met

    def measure(self, steps, number):
        """Part `number` of the first epoch, of so many steps of the setting's batch size.

        A row of larger batches does fewer, on as many examples. Before, a step of each length
        that is new makes graphs and programs; the first step of each part starts the pipeline.
        Where tokens are not cached, the time to tokenize these examples belongs to it.

        Returns:
            Dict of `seconds`, `examples`, `tokens` and `padded` tokens, and of `building`, the
            seconds of what came before.
        """
        row, setting = self.row, self.setting
        steps = -(-steps * setting.batch_size // batch_size_of(row, setting))
        began = time.perf_counter()
        if self._model is None:
            self._model = make_model(row, setting, 1, preprocessed=row.batches != "fixed")
            if row.words:
                self._words = OccurringWords(self._model, [setting.train_tokens])
        planned = self._planned(number * (steps + 1), steps + 1)
        lengths = {}  # by padded length, a batch of it
        for rows in planned:
            lengths.setdefault(padded_length(row, setting, rows), rows)
        self._fit([rows for length, rows in lengths.items() if length not in self._ready])
        self._ready.update(lengths)
        building = time.perf_counter() - began
        seconds, measured = self._fit(planned).seconds() * steps, planned[1:]
        if row.batches != "fixed" and not row.cached:
            seconds += self._tokenizing(np.concatenate(measured))
        return {
            "seconds": seconds,
            "building": building,
            "examples": sum(map(len, measured)),
            "tokens": int(sum(setting.train_tokens.lengths[rows].sum() for rows in measured)),
            "padded": sum(len(rows) * padded_length(row, setting, rows) for rows in measured),
        }

    def _planned(self, begin, steps):
        """So many batches from step `begin` of the first epoch on."""
        source = training_batches(self.row, self.setting, 1)
        epochs = (source.batches.epoch(each) for each in itertools.count())
        return list(itertools.islice(itertools.chain.from_iterable(epochs), begin, begin + steps))

    def _fit(self, planned):
        """Trains on these batches; a `Clock`."""
        clock, setting = Clock(), self.setting
        if not planned:
            return clock
        if self.row.batches == "fixed":
            (texts, labels), *_ = setting.examples
            order = np.concatenate(planned)
            arguments = {"x": [texts[i] for i in order], "y": labels[order]}
            arguments |= {"batch_size": setting.batch_size, "shuffle": False}
        else:
            source = training_batches(self.row, setting, 1)
            source = dataclasses.replace(source, batches=Planned(planned))
            if self._words:
                source = self._words.for_model(source)
            arguments = {"x": source.dataset(0, 0), "steps_per_epoch": len(planned)}
        self._model.fit(**arguments, verbose=0, callbacks=[clock])
        return clock

    def _tokenizing(self, order):
        texts = [self.setting.examples[0][0][i] for i in order]
        began = time.perf_counter()
        tokenize(self.setting.tokenizer, texts, self.setting.max_length)
        return time.perf_counter() - began


def train(row, setting, seed):
    """Trains a row to its end.

    Fixed lengths are padded to the longest text of a batch instead: the logits are the same (see
    `padding_difference`), and so is what is learned.

    Returns:
        Dict of `curve`, a list of [examples seen, accuracy], and `seconds`, evaluations included.
    """
    kind = "longest" if row.batches == "fixed" else row.batches
    source = training_batches(row, setting, seed, kind)
    model = make_model(row, setting, seed, preprocessed=True)
    steps, curve, seen = source.steps_per_epoch, [], 0
    began = time.perf_counter()
    for epoch in range(setting.epochs):
        sizes = [len(rows) for rows in source.batches.epoch(epoch)]
        marks = np.unique(np.linspace(0, steps, setting.points + 1).round().astype(int)).tolist()
        for begin, end in itertools.pairwise(marks):
            model.fit(source.dataset(epoch, begin), steps_per_epoch=end - begin, verbose=0)
            seen += sum(sizes[begin:end])
            curve.append([seen, accuracy(model, setting)])
            print(f"  {row.title}, seed {seed}: {seen} examples, {curve[-1][1]:.4f}", flush=True)
    return {"curve": curve, "seconds": time.perf_counter() - began}


def accuracy(model, setting):
    """On the evaluation examples."""
    _, (texts, labels), _ = setting.examples
    logits, order = predicted(model, setting, texts)
    return float((logits.argmax(-1) == labels[order]).mean())


def predicted(model, setting, texts):
    """Logits of texts padded to the longest of a batch, and the order that they come in."""
    tokens = tokenize_once(setting.tokenizer, texts, setting.max_length, "memory")
    batches = LengthBatches(tokens.lengths, PREDICT_BATCH)
    dataset = prediction_dataset(tokens, batches, setting.lengths)
    return model.predict(dataset, verbose=0), np.concatenate(batches.epoch(0))


def padding_difference(setting):
    """What it changes in stock's logits that texts are padded to the longest of a batch.

    Against those that are padded to the limit by KerasHub's preprocessor, after some updates.

    Returns:
        Dict of the number of `texts`, the largest `difference` and the largest `logit`.
    """
    model, updates = briefly_trained(LADDER["stock"], setting, "longest")
    texts = setting.examples[1][0][:PADDING_TEXTS]
    logits, order = predicted(model, setting, texts)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        setting.tokenizer.to_keras_hub(), sequence_length=setting.max_length
    )
    fixed = model.predict(preprocessor(texts), batch_size=PREDICT_BATCH, verbose=0)[order]
    return {
        "texts": len(texts),
        "updates": updates,
        "difference": float(np.abs(fixed - logits).max()),
        "logit": float(np.abs(fixed).max()),
    }


def briefly_trained(row, setting, kind=None):
    """A model of a row after at most `UPDATES_BEFORE` updates, and how many they were."""
    model = make_model(row, setting, 1, preprocessed=True)
    source = training_batches(row, setting, 1, kind)
    updates = min(UPDATES_BEFORE, source.steps_per_epoch)
    model.fit(source.dataset(0, 0), steps_per_epoch=updates, verbose=0)
    return model, updates


def prediction_forms(setting):
    """By name, functions from texts to answers: stock's `predict`, and ours on the same weights."""
    stock = make_model(LADDER["stock"], setting, 1, preprocessed=False)
    copy_weights(briefly_trained(LADDER["adam"], setting)[0], stock)
    forms = {"stock": lambda texts: stock.predict(texts, PREDICT_BATCH, verbose=0)}
    for precision in dict.fromkeys(("float32", choose_precision("auto"))):
        backbone = from_stock(stock.backbone, dtype=policy_of(precision))
        model = BertClassifier(backbone, setting.examples[2])
        copy_weights(stock, model)
        problem = Classification([str(i) for i in range(setting.examples[2])], "accuracy")
        trained = TrainedModel(model, setting.tokenizer, problem, setting.max_length)
        forms[f"tfbert, {precision}"] = lambda texts, trained=trained: predict_texts(
            trained, texts, PREDICT_BATCH
        )
    texts = setting.examples[0][0]
    for form in forms.values():
        form(texts[: PREDICT_BATCH + 1])  # makes the graph
    return forms


def predictions(forms, texts):
    """By `forms` and their names, seconds; and what differs from stock's answers.

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
    return {"forms": result}


def pipeline(setting):
    """Seconds of the parts of the input pipeline for one pass over the training examples."""
    texts = setting.examples[0][0]
    seconds = {}

    def timed(name, function, *arguments):
        began = time.perf_counter()
        result = function(*arguments)
        seconds[name] = time.perf_counter() - began
        return result

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

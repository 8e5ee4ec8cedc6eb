"""The steps of the ladder that `sentiment.py` climbs: models, batches, one measured `fit`."""

import dataclasses
import functools
import itertools
import time
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from tfbert.data.batching import LengthBatches, TokenBatches, padded_lengths
from tfbert.data.feeding import TrainingBatches, prediction_dataset
from tfbert.data.tasks import TASKS, Source, label_ids, label_names
from tfbert.data.token_cache import tokenize_once
from tfbert.data.tokenization import tokenize
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import BertEncoder
from tfbert.models.sources import load_preset
from tfbert.optimizers.adamw import AdamW
from tfbert.optimizers.lamb import LAMB
from tfbert.optimizers.schedules import WarmupPolynomialDecay
from tfbert.tokenizer import make_tokenizer
from tfbert.training.precision import POLICIES, choose_precision

# LAMB moves a weight by this share of its norm a step; Adam's 5e-5 moves MiniLM's by about half.
LAMB_RATE = 2e-3
LAMB_BATCHES = 4  # its batch, in batches of the other rows
PREDICT_UPDATES = 50  # before predictions are compared, which an untrained head makes alike


@dataclasses.dataclass(frozen=True)
class Row:
    """One step of the ladder, all earlier ones included.

    Args:
        title: As the table has it.
        batches: `fixed`, every text padded to the limit by KerasHub's preprocessor; `longest`,
            uniformly shuffled, padded to the longest of a batch; `length`; or `tokens`.
        encoder: `stock` or `ours`.
        precision: `float32`, `bfloat16` or `auto`.
        cached: Whether the tokens come out of a cache.
        optimizer: `keras adam`, `adam` (ours) or `lamb`.
        trained_as: The row whose training gives this row's accuracy, where it is another one.
    """

    title: str
    batches: str = "length"
    encoder: str = "ours"
    precision: str = "auto"
    cached: bool = True
    optimizer: str = "keras adam"
    trained_as: str | None = None


LADDER = {
    "stock": Row(
        "stock: KerasHub, fixed length, float32, Adam", "fixed", "stock", "float32", False
    ),
    "mixed": Row("+ mixed precision (bfloat16)", "fixed", "stock", "bfloat16", False),
    "length": Row("+ batches by length", encoder="stock", cached=False),
    "dropout": Row("+ fast dropout and encoder", cached=False),
    "adam": Row("+ Adam in one pass (tfbert.AdamW)", cached=False, optimizer="adam"),
    "cached": Row("+ input pipeline with cached tokens", optimizer="adam", trained_as="adam"),
    "lamb": Row(
        f"+ {LAMB_BATCHES} times larger batch, LAMB at {LAMB_RATE:g}, warm-up and decay",
        optimizer="lamb",
    ),
}
# The same model and optimizer as `adam`, on other batches.
SHUFFLING = {
    "uniform": Row("uniform shuffling", "longest", optimizer="adam"),
    "adam": LADDER["adam"],
    "tokens": Row("a budget of tokens", "tokens", optimizer="adam"),
}
ROWS = LADDER | SHUFFLING


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is trained on what.

    Args:
        task: Name in `TASKS`.
        data: Path of the data.
        model: A MODEL argument of the command line.
        batch_size: Examples a step.
        max_length: Longest sequence in tokens.
        epochs: Passes over the data where accuracy is measured.
        points: Evaluations an epoch.
        limit: Examples to keep of each split; None keeps all.
        train_limit: Examples to keep of the training split; None keeps all.
    """

    task: str
    data: str | None
    model: str
    batch_size: int
    max_length: int
    epochs: int
    points: int
    limit: int | None = None
    train_limit: int | None = None

    @functools.cached_property
    def examples(self):
        """(texts, labels) of training, (texts, labels) of evaluation, number of classes."""
        train, evaluation = Source(self.task, self.data).splits()
        names = label_names(train, evaluation)
        order = np.random.default_rng(0).permutation(len(train.texts))
        order = order[: self.limit][: self.train_limit]
        ids = label_ids(train, names)
        return (
            ([train.texts[i] for i in order], ids[order]),
            (evaluation.texts[: self.limit], label_ids(evaluation, names)[: self.limit]),
            len(names),
        )

    @functools.cached_property
    def tokenizer(self):
        stock = load_preset(keras_hub.models.BertTokenizer, self.model)
        return make_tokenizer(stock.get_vocabulary(), stock.lowercase)

    @functools.cached_property
    def train_tokens(self):
        return tokenize_once(self.tokenizer, self.examples[0][0], self.max_length, "memory")

    @property
    def learning_rate(self):
        return TASKS[self.task].learning_rate


@dataclasses.dataclass(frozen=True)
class UniformBatches:
    """Uniformly shuffled batches, with what `TrainingBatches` asks of batches."""

    examples: int
    batch_size: int
    seed: int

    @property
    def steps(self):
        return -(-self.examples // self.batch_size)

    def epoch(self, number):
        order = np.random.default_rng((self.seed, number)).permutation(self.examples)
        return np.split(order, range(self.batch_size, self.examples, self.batch_size))


@dataclasses.dataclass(frozen=True)
class Planned:
    """These batches in every epoch."""

    batches: list

    @property
    def steps(self):
        return len(self.batches)

    def epoch(self, number):
        return self.batches


def batch_size_of(row, setting):
    return setting.batch_size * (LAMB_BATCHES if row.optimizer == "lamb" else 1)


def training_batches(row, setting, seed, kind=None):
    """The `TrainingBatches` of a row; `kind` replaces the row's."""
    tokens, size = setting.train_tokens, batch_size_of(row, setting)
    lengths = padded_lengths(setting.max_length)
    kind = kind or row.batches
    if kind == "length":
        batches = LengthBatches(tokens.lengths, size, seed)
    elif kind == "tokens":
        # What the other rows' batches have on average, if each text were padded by itself.
        padded = lengths[np.searchsorted(lengths, tokens.lengths)]
        budget = max(setting.max_length, round(size * padded.mean()))
        batches = TokenBatches(tokens.lengths, lengths, budget, seed)
    else:
        batches = UniformBatches(len(tokens), size, seed)
    (_, labels), _, classes = setting.examples
    return TrainingBatches(tokens, batches, lengths, labels, np.ones(classes, np.float32))


def make_model(row, setting, seed, preprocessed):
    """The compiled classifier of a row.

    A stock model with changing lengths goes without XLA, which would compile it anew for each of
    them; with a fixed length it does what Keras does by itself: XLA where there is a GPU.

    Args:
        preprocessed: Whether it is fed with token ids, padded to changing lengths, instead of
            strings.
    """
    keras.utils.set_random_seed(seed)
    classes = setting.examples[2]
    policy = POLICIES[choose_precision(row.precision)]
    jit_compile = "auto"
    if row.encoder == "ours":
        model = BertClassifier(load_preset(BertEncoder, setting.model, dtype=policy), classes)
    else:
        preprocessor = None
        if not preprocessed:
            preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
                setting.tokenizer, sequence_length=setting.max_length
            )
        backbone = load_preset(keras_hub.models.BertBackbone, setting.model, dtype=policy)
        model = keras_hub.models.BertTextClassifier(backbone, classes, preprocessor)
        jit_compile = not preprocessed and "auto"
    if row.optimizer == "lamb":
        updates = setting.epochs * training_batches(row, setting, seed).steps_per_epoch
        rate = WarmupPolynomialDecay(LAMB_RATE, updates, warmup_steps=round(0.1 * updates))
        optimizer = LAMB(rate)
    elif row.optimizer == "adam":
        optimizer = AdamW(setting.learning_rate, weight_decay=0.0, epsilon=1e-7)
    else:
        optimizer = keras.optimizers.Adam(setting.learning_rate)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer=optimizer, loss=loss, weighted_metrics=["accuracy"], jit_compile=jit_compile
    )
    return model


class Clock(keras.callbacks.Callback):
    """When each step ended."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())


def padded_length(row, setting, examples):
    """The length that a batch of these examples is padded to."""
    if row.batches == "fixed":
        return setting.max_length
    allowed = padded_lengths(setting.max_length)
    return int(allowed[np.searchsorted(allowed, setting.train_tokens.lengths[examples].max())])


def padded_tokens(row, setting):
    """Tokens of an example with its padding, the mean over the first epoch."""
    batches = training_batches(row, setting, 1).batches.epoch(0)
    total = sum(len(batch) * padded_length(row, setting, batch) for batch in batches)
    return total / sum(map(len, batches))


@dataclasses.dataclass
class Speed:
    """A row whose speed is measured a few steps at a time."""

    row: Row
    setting: Setting
    _model: Any = None
    _ready: set = dataclasses.field(default_factory=set)  # padded lengths that were met

    def measure(self, steps, number):
        """Part `number` of the first epoch, of so many steps of the setting's batch size.

        A row of larger batches does fewer, on as many examples. Before, a step of each length
        that is new makes graphs and programs; the first step of each part starts the pipeline.
        These are not measured. Where tokens are not cached, the time to tokenize these examples
        belongs to it.

        Returns:
            Dict of `seconds`, `examples`, `tokens` and `padded` tokens.
        """
        row, setting = self.row, self.setting
        steps = -(-steps * setting.batch_size // batch_size_of(row, setting))
        if self._model is None:
            self._model = make_model(row, setting, 1, preprocessed=row.batches != "fixed")
        planned = self._planned(number * (steps + 1), steps + 1)
        lengths = {}  # by padded length, a batch of it
        for rows in planned:
            lengths.setdefault(padded_length(row, setting, rows), rows)
        self._fit([rows for length, rows in lengths.items() if length not in self._ready])
        self._ready.update(lengths)
        clock = self._fit(planned)
        seconds, measured = clock.ends[-1] - clock.ends[0], planned[1:]
        if row.batches != "fixed" and not row.cached:
            seconds += self._tokenizing(np.concatenate(measured))
        return {
            "seconds": seconds,
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
        Dict of `curve`, a list of [examples seen, accuracy], `seconds`, and for fixed lengths the
        `padding_difference`.
    """
    kind = "longest" if row.batches == "fixed" else row.batches
    source = training_batches(row, setting, seed, kind)
    model = make_model(row, setting, seed, preprocessed=True)
    result = {}
    if row.batches == "fixed":
        result["padding_difference"] = padding_difference(model, setting)
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
    return {**result, "curve": curve, "seconds": time.perf_counter() - began}


def accuracy(model, setting):
    """On the evaluation examples."""
    _, (texts, labels), _ = setting.examples
    tokens = tokenize_once(setting.tokenizer, texts, setting.max_length, "memory")
    batches = LengthBatches(tokens.lengths, 64)
    dataset = prediction_dataset(tokens, batches, padded_lengths(setting.max_length))
    logits = model.predict(dataset, verbose=0)
    return float((logits.argmax(-1) == labels[np.concatenate(batches.epoch(0))]).mean())


def padding_difference(model, setting, rows=16):
    """Largest difference of a stock model's logits, padded to the limit or to the longest text.

    The first is what KerasHub's preprocessor gives, the second what `collate` gives.
    """
    texts = setting.examples[0][0][:rows]
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
        setting.tokenizer, sequence_length=setting.max_length
    )
    tokens = tokenize(setting.tokenizer, texts, setting.max_length)
    batches, lengths = LengthBatches(tokens.lengths, rows), padded_lengths(setting.max_length)
    ((inputs,),) = prediction_dataset(tokens, batches, lengths)
    fixed = np.asarray(model(preprocessor(texts)))[batches.epoch(0)[0]]
    return float(np.abs(fixed - np.asarray(model(inputs))).max())


def settings_of(task, data, model, max_length=None, train_limit=None, epochs=None):
    """The `Setting` of a task whose files lie in the folder `data` as in shared/data."""
    folder = Path(data)
    places = {"sst2": "glue/SST-2", "imdb": "imdb", "movie_reviews": "movie_reviews.zip"}
    return Setting(
        task=task,
        data=str(folder / places[task]),
        model=model or str(folder / "minilm"),
        batch_size={"movie_reviews": 8}.get(task, 32),
        max_length=max_length or TASKS[task].max_length,
        epochs=epochs or TASKS[task].epochs,
        points={"sst2": 5, "imdb": 4, "movie_reviews": 2}[task],
        train_limit=train_limit,
    )


QUICK = Setting("embedded", None, "embedded", 4, 32, epochs=1, points=2, limit=32)

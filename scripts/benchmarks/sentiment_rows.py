"""The steps of the ladder that `sentiment.py` climbs: what is trained, on which batches."""

import dataclasses
import functools
from pathlib import Path

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.models.classifier import BertClassifier
from tfbert.models.formats.presets import load_preset, load_tokenizer
from tfbert.models.sources import load_encoder, resolve_source
from tfbert.optimizers.adamw import AdamW
from tfbert.optimizers.lamb import LAMB
from tfbert.optimizers.schedules import WarmupPolynomialDecay
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.problems.classification import label_ids, label_names
from tfbert.tasks.tokens.batch_sources import TrainingBatches
from tfbert.tasks.tokens.batching import LengthBatches, TokenBatches, padded_lengths
from tfbert.tasks.tokens.encoded import RowTargets
from tfbert.tasks.tokens.token_cache import tokenize_once

LAMB_RATE = 5e-4  # as `finetune` has it for SST-2 and this batch
LAMB_BATCHES = 4  # its batch, in batches of the other rows


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
        lamb_rate: The peak of LAMB's rate.
        trained_as: The row whose training gives this row's accuracy, where it is another one.
        words: Whether the word table has, where speed is measured, the rows alone that occur, as in
            `tfbert finetune`. The weights that are trained are the same.
    """

    title: str
    batches: str = "length"
    encoder: str = "ours"
    precision: str = "auto"
    cached: bool = True
    optimizer: str = "keras adam"
    lamb_rate: float = LAMB_RATE
    trained_as: str | None = None
    words: bool = False

    def accuracy_cells(self, key):
        """How the names of its cells of accuracy begin; those of LAMB say the rate."""
        rate = f"{self.lamb_rate:g}-" if self.optimizer == "lamb" else ""
        return f"accuracy-{self.trained_as or key}-{rate}"


LADDER = {
    "stock": Row(
        "stock: KerasHub, fixed length, float32, Adam", "fixed", "stock", "float32", False
    ),
    "mixed": Row("+ mixed precision (bfloat16)", "fixed", "stock", "bfloat16", False),
    "length": Row("+ batches by length", encoder="stock", cached=False),
    "dropout": Row("+ fast dropout and encoder", cached=False),
    "adam": Row("+ Adam in one pass (tfbert.AdamW)", cached=False, optimizer="adam"),
    "cached": Row("+ input pipeline with cached tokens", optimizer="adam", trained_as="adam"),
    "words": Row(
        "+ the rows of the word table that occur", optimizer="adam", trained_as="adam", words=True
    ),
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
        columns: Those of texts and labels; None is the task's.
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
    columns: tuple = (None, None)

    @functools.cached_property
    def examples(self):
        """(texts, labels) of training, (texts, labels) of evaluation, number of classes."""
        train, evaluation = LabelledData(self.task, self.data, *self.columns).splits()
        names = label_names(train.labels, evaluation.labels)
        order = np.random.default_rng(0).permutation(len(train.texts))
        order = order[: self.limit][: self.train_limit]
        ids = label_ids(train.labels, names)
        return (
            ([train.texts[i] for i in order], ids[order]),
            (evaluation.texts[: self.limit], label_ids(evaluation.labels, names)[: self.limit]),
            len(names),
        )

    @functools.cached_property
    def tokenizer(self):
        return load_tokenizer(resolve_source(self.model), self.model)

    @functools.cached_property
    def train_tokens(self):
        return tokenize_once(self.tokenizer, self.examples[0][0], self.max_length, "memory")

    @property
    def learning_rate(self):
        return TASKS[self.task].learning_rate

    @functools.cached_property
    def lengths(self):
        """Those that batches by length are padded to, as `finetune` has them: few under XLA."""
        return padded_lengths(self.max_length, few=bool(tf.config.list_physical_devices("GPU")))


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


def batch_size_of(row, setting):
    return setting.batch_size * (LAMB_BATCHES if row.optimizer == "lamb" else 1)


def training_batches(row, setting, seed, kind=None):
    """The `TrainingBatches` of a row; `kind` replaces the row's."""
    tokens, size = setting.train_tokens, batch_size_of(row, setting)
    lengths = setting.lengths
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
    (_, labels), _, _ = setting.examples
    targets = RowTargets(labels, np.ones(len(labels), np.float32))
    return TrainingBatches(tokens, batches, lengths, targets)


def make_model(row, setting, seed, preprocessed):
    """The compiled classifier of a row.

    A stock model with changing lengths goes without XLA, which would compile it anew for each of
    them; with a fixed length it does what Keras does by itself: XLA where there is a GPU.

    Args:
        preprocessed: Whether its input is token ids, padded to changing lengths, instead of
            strings.
    """
    keras.utils.set_random_seed(seed)
    classes = setting.examples[2]
    policy = POLICIES[choose_precision(row.precision)]
    jit_compile = "auto"
    if row.encoder == "ours":
        model = BertClassifier(load_encoder(setting.model, policy).backbone, classes)
    else:
        preprocessor = None
        if not preprocessed:
            preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
                setting.tokenizer.to_keras_hub(), sequence_length=setting.max_length
            )
        preset = resolve_source(setting.model)
        stock_class = keras_hub.models.BertBackbone
        backbone = load_preset(stock_class, preset, setting.model, dtype=policy)
        model = keras_hub.models.BertTextClassifier(backbone, classes, preprocessor)
        jit_compile = not preprocessed and "auto"
    if row.optimizer == "lamb":
        updates = setting.epochs * training_batches(row, setting, seed).steps_per_epoch
        rate = WarmupPolynomialDecay(row.lamb_rate, updates, warmup_steps=round(0.1 * updates))
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


def padded_length(row, setting, examples):
    """The length that a batch of these examples is padded to."""
    if row.batches == "fixed":
        return setting.max_length
    allowed = setting.lengths
    return int(allowed[np.searchsorted(allowed, setting.train_tokens.lengths[examples].max())])


def padded_tokens(row, setting):
    """Tokens of an example with its padding, the mean over the first epoch."""
    batches = training_batches(row, setting, 1).batches.epoch(0)
    total = sum(len(batch) * padded_length(row, setting, batch) for batch in batches)
    return total / sum(map(len, batches))


def settings_of(
    task, data=None, model=None, max_length=None, train_limit=None, epochs=None, **others
):
    """The `Setting` of a task; `data` is a folder laid out as shared/data, or the task's own."""
    places = {"sst2": "glue/SST-2", "imdb": "imdb", "movie_reviews": "movie_reviews.zip"}
    shared = Path(data or ".") / places.get(task, ".")
    in_shared = data is not None and task in places and shared.exists()
    own = {name: value for name, value in others.items() if value is not None}
    return Setting(
        task=task,
        data=str(shared) if in_shared else data,
        model=model or (str(Path(data) / "minilm") if in_shared else "embedded"),
        max_length=max_length or TASKS[task].max_length,
        epochs=epochs or TASKS[task].epochs,
        points={"sst2": 5, "imdb": 4}.get(task, 2),
        train_limit=train_limit,
        **{"batch_size": {"movie_reviews": 8}.get(task, 32), **own},
    )


QUICK = Setting("embedded", None, "embedded", 4, 32, epochs=1, points=2, limit=32)

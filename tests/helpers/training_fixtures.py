"""A small data set, a small model and a finished run, shared by the tests of training."""

import json

import numpy as np
import pytest
from filelock import FileLock
from helpers.pretraining_run import QUICK, make_records

from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.runs.command_options import FinetuneConfig
from tfbert.tasks.formats.tables import Layout
from tfbert.tasks.problems.classification import Classification

TEXTS = ["What a lovely day.", "", "Awful!", "The soup was cold and the waiter rude to us all."]
# Options of `trained_run`, in addition to those of `config`.
TRAINED = {"epochs": 2, "early_stopping": 2, "precision": "bfloat16", "optimizer": "lamb"}
# Options of `pretrained_run`, in addition to those of `pretrain_config`.
PRETRAINED = {"dropout": 0.1, "checkpoint_steps": 1, "num_layers": 1}


def write_csv(path, count, skip=0):
    """`count` of the embedded training sentences as a CSV file of one's own."""
    layout = Layout("tsv", "sentence")
    examples = Classification.read(SENTIMENT_DIRECTORY / "train.tsv", layout)
    rows = list(zip(examples.texts, examples.labels, strict=True))[skip : skip + count]
    quoted = (f'"{text}",{label}\n'.replace('""', '"') for text, label in rows)
    path.write_text("review,mood\n" + "".join(quoted))
    return path


def once(tmp_path_factory, name, make):
    """A folder that one of the test processes makes, for all of them."""
    base = tmp_path_factory.getbasetemp()
    # A process of pytest-xdist has a folder of its own in the one of the session.
    base = base.parent if base.name.startswith("popen-") else base
    folder = base / name
    with FileLock(base / f"{name}.lock"):
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with train.csv (60 rows) and dev.csv (13 rows, an uneven number)."""
    folder = tmp_path_factory.mktemp("data")
    write_csv(folder / "train.csv", 60)
    write_csv(folder / "dev.csv", 13, skip=60)
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A preset of two layers, 16 wide, with the embedded model's vocabulary: quick to trace."""

    def make(folder):
        import keras
        import keras_hub

        from tfbert.models.sources import load_encoder

        tokenizer = load_encoder("embedded", "float32").tokenizer
        keras.utils.set_random_seed(5)
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=len(tokenizer.vocabulary),
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            max_sequence_length=128,
        )
        backbone.save_to_preset(str(folder))
        tokenizer.to_keras_hub().save_to_preset(str(folder))

    return once(tmp_path_factory, "small_model", make)


def quick_options(data, model, output):
    """The options of a quick fine-tuning."""
    return {
        "task": "csv",
        "data": str(data),
        "model": str(model),
        "output": str(output),
        "text_column": "review",
        "label_column": "mood",
        "epochs": 1,
        "global_batch_size": 8,
        "learning_rate": 1e-2,
        "precision": "float32",
        "progress": False,
    }


@pytest.fixture
def config(data, small_model, tmp_path):
    """A function that makes a configuration of a quick run."""

    def make(**changes):
        return FinetuneConfig(**{**quick_options(data, small_model, tmp_path / "run"), **changes})

    return make


@pytest.fixture
def no_dropout(monkeypatch):
    """Also none before the classifier, which has no option of its own."""
    import keras

    from tfbert.models.layers.dropout import Dropout

    monkeypatch.setattr(keras.layers.Dropout, "call", lambda self, inputs, training=False: inputs)
    monkeypatch.setattr(Dropout, "draw_seed", lambda self, training: None)


@pytest.fixture(scope="session")
def trained_run(data, small_model, tmp_path_factory):
    """The directory of a finished run, for reading only."""

    def make(folder):
        from tfbert.runs.finetune import finetune

        options = quick_options(data, small_model, folder)
        history = finetune(FinetuneConfig(**{**options, **TRAINED})).history
        (folder / "history.json").write_text(json.dumps(history))

    return once(tmp_path_factory, "trained_run", make)


@pytest.fixture(scope="session")
def classifier(trained_run):
    """The classifier of that run, loaded once: what it has traced is shared."""
    from tfbert.models.trained_model import load_model

    return load_model(str(trained_run))


@pytest.fixture(scope="session")
def trained_metrics(trained_run):
    """The content of the run's `metrics.json`."""
    return json.loads((trained_run / "metrics.json").read_text())


@pytest.fixture(scope="session")
def embedded_vocabulary_file(tmp_path_factory):
    """The embedded model's vocabulary."""
    from tfbert.models.sources import load_encoder

    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    pieces = load_encoder("embedded", "float32").tokenizer.vocabulary.pieces
    path.write_text("".join(piece + "\n" for piece in pieces))
    return path


@pytest.fixture(scope="session")
def records(embedded_vocabulary_file, tmp_path_factory):
    """Folder of `make_records`."""
    return make_records(tmp_path_factory.mktemp("records"), embedded_vocabulary_file)


@pytest.fixture(scope="session")
def no_measurement():
    """The machine's peak is not measured: it would take a second of all cores in each run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfbert.runs.pretrain.strategy_matmul_peak", lambda strategy, dtype: 1e11)
        yield


@pytest.fixture
def pretrain_config(records, tmp_path, no_measurement):
    """A function that makes the configuration of a quick pre-training run."""

    def make(**changes):
        options = {"data": records, "output": str(tmp_path / "run"), **QUICK}
        return PretrainConfig(**{**options, **changes})

    return make


@pytest.fixture(scope="session")
def pretrained_run(records, no_measurement, tmp_path_factory):
    """The directory of a finished pre-training run, for reading only.

    In addition to what a run writes, it holds `result.json` with the history and the metrics that
    were returned, and `backbone.npz` with the weights.
    """

    def make(folder):
        from tfbert.runs.pretrain import pretrain

        options = {**QUICK, **PRETRAINED, "data": records, "output": str(folder)}
        result = pretrain(PretrainConfig(**options))
        returned = {"history": result.history, "metrics": result.metrics}
        (folder / "result.json").write_text(json.dumps(returned))
        np.savez(folder / "backbone.npz", *map(np.array, result.model.backbone.weights))

    return once(tmp_path_factory, "pretrained_run", make)

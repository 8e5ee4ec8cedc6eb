"""A small data set and a run on it, shared by the tests of training."""

import pytest
from helpers.pretraining_run import QUICK, make_records

from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.runs.command_options import FinetuneConfig
from tfbert.tasks.tables import read_table


def write_csv(path, count, skip=0):
    """`count` of the embedded training sentences as a CSV file of one's own."""
    examples = read_table(SENTIMENT_DIRECTORY / "train.tsv", "tsv", "sentence", "label")
    rows = list(zip(*examples, strict=True))[skip : skip + count]
    quoted = (f'"{text}",{label}\n'.replace('""', '"') for text, label in rows)
    path.write_text("review,mood\n" + "".join(quoted))
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with train.csv (60 rows) and dev.csv (13 rows, an uneven number)."""
    folder = tmp_path_factory.mktemp("data")
    write_csv(folder / "train.csv", 60)
    write_csv(folder / "dev.csv", 13, skip=60)
    return folder


@pytest.fixture
def config(data, tmp_path):
    """A function that makes a configuration of a quick run."""

    def make(**changes):
        options = {
            "task": "csv",
            "data": str(data),
            "model": "embedded",
            "output": str(tmp_path / "run"),
            "text_column": "review",
            "label_column": "mood",
            "epochs": 1,
            "global_batch_size": 8,
            "learning_rate": 1e-3,
            "precision": "float32",
            "progress": False,
        }
        return FinetuneConfig(**{**options, **changes})

    return make


@pytest.fixture(scope="session")
def embedded_vocabulary_file(tmp_path_factory):
    """The embedded model's vocabulary."""
    from tfbert.models.sources import load_encoder

    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    pieces = load_encoder("embedded", "float32").tokenizer.get_vocabulary()
    path.write_text("".join(piece + "\n" for piece in pieces))
    return path


@pytest.fixture(scope="session")
def records(embedded_vocabulary_file, tmp_path_factory):
    """Folder of `make_records`."""
    return make_records(tmp_path_factory.mktemp("records"), embedded_vocabulary_file)


@pytest.fixture
def pretrain_config(records, tmp_path):
    """A function that makes the configuration of a quick pre-training run."""

    def make(**changes):
        options = {"data": records, "output": str(tmp_path / "run"), **QUICK}
        return PretrainConfig(**{**options, **changes})

    return make


@pytest.fixture(scope="session")
def trained_run(data, tmp_path_factory):
    """The path of a finished run, and the result of it."""
    from tfbert.runs.finetune import finetune

    output = tmp_path_factory.mktemp("trained") / "run"
    return finetune(
        FinetuneConfig(
            task="csv",
            data=str(data),
            model="embedded",
            output=str(output),
            text_column="review",
            label_column="mood",
            epochs=2,
            global_batch_size=8,
            learning_rate=1e-3,
            progress=False,
        )
    )

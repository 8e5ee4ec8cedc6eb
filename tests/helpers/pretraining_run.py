"""A small pre-training run, how runs are stopped, and what their curves say."""

import contextlib
import os
import signal

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.records.prepare import prepare
from tfbert.records.record_options import PrepareConfig
from tfbert.recovery.preemption import Preempted

PHASES = [
    {"sequence_length": 16, "global_batch_size": 8, "steps": 5, "learning_rate": 0.01},
    {"sequence_length": 24, "global_batch_size": 4, "steps": 3, "learning_rate": 0.005},
]

# Options of a quick run on `PHASES`: evaluations after 2, 4 and 5 updates of the first phase, 2 and
# 3 of the second.
QUICK = {
    "phases": PHASES,
    "size": "tiny",
    "hidden_dim": 16,
    "num_heads": 2,
    "max_sequence_length": 32,
    "dropout": 0.0,
    "precision": "float32",
    "eval_steps": 2,
    "eval_sequences": 8,
}


def make_records(folder, vocabulary_file):
    """Pairs of lengths 16 and 24, a tenth of them held out; returns their folder's path."""
    lines = (SENTIMENT_DIRECTORY / "train.tsv").read_text().splitlines()[1:]
    sentences = [line.split("\t")[0] for line in lines]
    documents = [" ".join(sentences[i : i + 6]) for i in range(0, len(sentences), 6)]
    options = {"lengths": [16, 24], "validation_fraction": 0.1}
    return records_of("\n".join(documents), folder, vocabulary_file, **options)


def records_of(text, folder, vocabulary_file, **options):
    """Prepares a text in a folder; returns the path of its records."""
    (folder / "text.txt").write_text(text)
    fixed = {"vocab": str(vocabulary_file), "workers": 1, "progress": False}
    paths = {"input": [str(folder / "text.txt")], "output": str(folder / "records")}
    prepare(PrepareConfig(**paths, **fixed, **options))
    return paths["output"]


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def stopped(callback, update, method="on_train_batch_end", error=Preempted, act=terminate):
    """What runs in it ends by an error: a callback's method acts after so many updates."""
    original = getattr(callback, method)

    def wrapper(self, *arguments, **keywords):
        original(self, *arguments, **keywords)
        if int(self.model.optimizer.iterations) == update:
            act()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(error):
        patch.setattr(callback, method, wrapper)
        yield


def scalars(directory, again=False):
    """By tag, the steps and values in a folder of TensorBoard events.

    `again`: a run that crashed writes the points after its last checkpoint a second time.
    """
    found = {}
    for path in sorted(directory.iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                points = found.setdefault(value.tag, {})
                assert again or event.step not in points, f"{value.tag}: two of step {event.step}"
                points[event.step] = float(make_ndarray(value.tensor))
    return found

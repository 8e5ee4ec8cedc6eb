"""The tasks that `finetune` knows: a task is data, and a new one is an entry in `TASKS`.

An entry says where the data comes from, in which form, and which defaults suit it. The commands
read the entry; what differs between two tasks is written here.
"""

import dataclasses
from pathlib import Path
from typing import Literal

from tfbert.embedded import SENTIMENT_DIRECTORY

TaskName = Literal["embedded", "sst2", "movie_reviews", "imdb", "csv", "tsv", "jsonl"]

_SENTIMENT = {"0": "negative", "1": "positive", "neg": "negative", "pos": "positive"}


@dataclasses.dataclass(frozen=True)
class Task:
    """One kind of labelled data.

    Args:
        form: The form of its table files: `csv`, `tsv` or `jsonl`.
        text_column: The column with the text.
        label_column: The column with the label.
        names: Readable names of the labels in the files.
        folders: Whether the data may also be folders neg/ and pos/ of documents.
        data: The data, where it ships with the package; None asks the user for a path.
        own_columns: Whether the user may name other columns.
        max_length: Default of the longest sequence, in tokens.
        epochs: Default number of passes over the training examples.
        learning_rate: Default peak of the learning rate.
    """

    form: str
    text_column: str = "text"
    label_column: str = "label"
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    folders: bool = False
    data: Path | None = None
    own_columns: bool = False
    max_length: int = 128
    epochs: int = 3
    learning_rate: float = 5e-5


TASKS = {
    "embedded": Task(
        "tsv", "sentence", data=SENTIMENT_DIRECTORY, max_length=64, epochs=10, learning_rate=5e-4
    ),
    "sst2": Task("tsv", "sentence", names=_SENTIMENT, epochs=1),
    "movie_reviews": Task("tsv", names=_SENTIMENT, folders=True, max_length=512, epochs=4),
    "imdb": Task("tsv", names=_SENTIMENT, folders=True, max_length=256, epochs=1),
    "csv": Task("csv", own_columns=True),
    "tsv": Task("tsv", own_columns=True),
    "jsonl": Task("jsonl", own_columns=True),
}

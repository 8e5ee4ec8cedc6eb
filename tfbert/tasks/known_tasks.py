"""The tasks that `finetune` knows: a task is data, and a new one is an entry in `TASKS`.

An entry says where the data comes from, in which form, and which defaults suit it. The commands
read the entry; what differs between two tasks is written here.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.tasks.formats.tables import Layout

# fmt: off
TaskName = Literal[
    "embedded", "sst2", "movie_reviews", "imdb",
    "cola", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax",
    "goemotions", "wnut17", "squad",
    "csv", "tsv", "jsonl", "conll",
]
# fmt: on

_SENTIMENT = {"0": "negative", "1": "positive", "neg": "negative", "pos": "positive"}
_EVALUATION_FILES = ("dev", "validation", "valid", "val", "test")

# In the order of their numbers, as in the set's labels.txt.
_EMOTIONS = (
    "admiration amusement anger annoyance approval caring confusion curiosity desire "
    "disappointment disapproval disgust embarrassment excitement fear gratitude grief joy love "
    "nervousness optimism pride realization relief remorse sadness surprise neutral"
)


@dataclasses.dataclass(frozen=True)
class Task:
    """One kind of labelled data.

    Args:
        form, text_column, label_column, pair_column, id_column, columns, label_separator,
            drops_broken: Of its files: see `Layout`, where `columns` are the `names`.
        problem: A name in `PROBLEMS`; None takes what the data says.
        main_metric: The metric by which its models are compared; None takes the problem's.
        names: Readable names of the labels in the files.
        training_files, evaluation_files: Names of the files in the task's folder, the first that
            is there counts; those without a suffix may have any of the form's, and `*` is any text.
            A task without training files is answered by the model of `answered_by`.
        further_files: By name, those of evaluations beside the first.
        listed_in: Names of a list of those pairs of the training file that are evaluated on, where
            the first of the evaluation files is not there: see `tfbert.tasks.glue.mrpc`.
        answered_by: The task whose models are used.
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
    pair_column: str | None = None
    id_column: str | None = None
    columns: tuple[str, ...] | None = None
    label_separator: str | None = None
    drops_broken: bool = False
    problem: str | None = None
    main_metric: str | None = None
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    training_files: tuple[str, ...] = ("train",)
    evaluation_files: tuple[str, ...] = _EVALUATION_FILES
    further_files: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    listed_in: tuple[str, ...] = ()
    answered_by: str | None = None
    folders: bool = False
    data: Path | None = None
    own_columns: bool = False
    max_length: int = 128
    epochs: int = 3
    learning_rate: float = 5e-5


def _classes(
    text: str = "text", label: str = "label", pair: str | None = None, **options: Any
) -> Task:
    """A public set of classes in GLUE's form; the columns of text, label and second text."""
    return Task("tsv", text, label, pair, problem="classification", **options)


# Where the metric is an F1, the last name in the alphabet is that of the class that is to be found.
# Sets whose names of labels say enough have no others here.
TASKS = {
    "embedded": _classes(
        "sentence", data=SENTIMENT_DIRECTORY, max_length=64, epochs=4, learning_rate=2e-4
    ),
    "movie_reviews": _classes(names=_SENTIMENT, folders=True, max_length=512, epochs=4),
    "imdb": _classes(names=_SENTIMENT, folders=True, max_length=256, epochs=1),
    # GLUE; see docs/glue.md.
    "cola": _classes(
        "sentence",
        columns=("source", "label", "mark", "sentence"),
        names={"0": "unacceptable", "1": "acceptable"},
        main_metric="matthews",
    ),
    "sst2": _classes("sentence", names=_SENTIMENT, epochs=1),
    "mrpc": _classes(
        "#1 String",
        "Quality",
        "#2 String",
        names={"0": "different", "1": "equivalent"},
        main_metric="f1",
        training_files=("train", "msr_paraphrase_train.txt"),
        # The original files have GLUE's split in a list, if at all.
        evaluation_files=("dev", "msr_paraphrase_test.txt"),
        listed_in=("dev_ids.tsv", "mrpc_dev_ids.tsv"),
    ),
    "stsb": Task(
        "tsv", "sentence1", "score", "sentence2", problem="regression", main_metric="pearson"
    ),
    "qqp": _classes(
        "question1",
        "is_duplicate",
        "question2",
        names={"0": "different", "1": "duplicate"},
        main_metric="f1",
        drops_broken=True,  # the published train.tsv has some
    ),
    "mnli": _classes(
        "sentence1",
        "gold_label",
        "sentence2",
        evaluation_files=("dev_matched",),
        further_files={"mismatched": ("dev_mismatched",)},
    ),
    "qnli": _classes("question", "label", "sentence"),
    "rte": _classes("sentence1", "label", "sentence2"),
    "wnli": _classes(
        "sentence1", "label", "sentence2", names={"0": "not_entailment", "1": "entailment"}
    ),
    "ax": _classes(
        "sentence1",
        "label",
        "sentence2",
        training_files=(),
        evaluation_files=("AX", "diagnostic"),
        answered_by="mnli",
    ),
    # Other public sets, in their original files.
    "goemotions": Task(
        "tsv",
        "text",
        "labels",
        columns=("text", "labels", "id"),
        label_separator=",",
        problem="multilabel",
        names={str(number): name for number, name in enumerate(_EMOTIONS.split())},
    ),
    "wnut17": Task("conll", problem="tagging"),
    "squad": Task(
        "squad",
        "question",
        pair_column="context",
        problem="span",
        training_files=("train", "train-v*"),  # train-v1.1.json
        evaluation_files=("dev", "dev-v*", *_EVALUATION_FILES[1:]),
        max_length=384,
        epochs=2,
        learning_rate=3e-5,
    ),
    # Files of one's own.
    "csv": Task("csv", own_columns=True),
    "tsv": Task("tsv", own_columns=True),
    "jsonl": Task("jsonl", own_columns=True),
    "conll": Task("conll", problem="tagging", own_columns=True),
}


def layout_of(task: Task, **options: Any) -> Layout:
    """The layout of a task's files.

    Args:
        options: Fields of `Layout` that replace the task's, where they are not None.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return dataclasses.replace(
        Layout(
            task.form,
            task.text_column,
            task.label_column,
            task.pair_column,
            task.id_column,
            task.columns,
            label_separator=task.label_separator,
            drops_broken=task.drops_broken,
        ),
        **given,
    )

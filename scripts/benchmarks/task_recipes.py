"""The recipes of `tasks.py`, fixed before its first run, and the data that both programs read.

Needs nothing but Python, so that the peer's interpreter can import it.
"""

import dataclasses
import json
import random
from pathlib import Path

SEEDS = (1, 2, 3)
WARMUP = 0.1  # share of the updates
WEIGHT_DECAY = 0.01  # not of biases and layer normalisation
MAX_GRAD_NORM = 1.0
DOC_STRIDE = 128
MAX_ANSWER = 30  # tokens
DRAW_SEED = 0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a task is trained, by both programs.

    Args:
        title: In the tables.
        kind: `classification`, `regression`, `multilabel`, `tagging` or `span`.
        folder: In the folder of data.
        train, evaluation: Files in it.
        metric: The metric that is compared, as `tfbert` calls it in `metrics.json`.
        metric_title: In the tables.
        examples: Training examples, drawn once with `DRAW_SEED`; None takes all.
        epochs, batch_size, learning_rate, max_length: Those of the run.
        updates: Updates a turn where speed is measured.
    """

    title: str
    kind: str
    folder: str
    train: str
    evaluation: str
    metric: str
    metric_title: str
    examples: int | None = None
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    max_length: int = 128
    updates: int = 16


# Small models, as MiniLM, learn tags and spans slowly at 5e-5: twice that rate there. GoEmotions
# had batches of 32 until both programs ended without a label: too few updates for 28 labels.
RECIPES = {
    "cola": Recipe(
        "CoLA",
        "classification",
        "glue/CoLA",
        "train.tsv",
        "dev.tsv",
        "matthews",
        "Matthews correlation",
        updates=30,
    ),
    "mrpc": Recipe(
        "MRPC",
        "classification",
        "glue/MRPC",
        "msr_paraphrase_train.txt",
        "msr_paraphrase_test.txt",
        "f1",
        "F1",
        updates=12,
    ),
    "stsb": Recipe(
        "STS-B",
        "regression",
        "glue/STS-B",
        "train.tsv",
        "dev.tsv",
        "pearson",
        "Pearson correlation",
        updates=16,
    ),
    "goemotions": Recipe(
        "GoEmotions",
        "multilabel",
        "goemotions",
        "train.tsv",
        "dev.tsv",
        "macro_f1",
        "macro F1",
        examples=10_000,
        batch_size=8,
        learning_rate=1e-4,
        updates=60,
    ),
    "wnut17": Recipe(
        "WNUT-17",
        "tagging",
        "wnut17",
        "train.conll",
        "dev.conll",
        "f1",
        "entity F1",
        batch_size=16,
        learning_rate=1e-4,
        updates=30,
    ),
    "squad": Recipe(
        "SQuAD",
        "span",
        "squad",
        "train.json",
        "dev.json",
        "f1",
        "F1, %",
        examples=4_000,
        epochs=2,
        batch_size=16,
        learning_rate=1e-4,
        max_length=384,
        updates=8,
    ),
}


def prepare(name: str, data: Path, folder: Path) -> Path:
    """The folder of a task's files: the original one, or one with the drawn training examples.

    Args:
        name: In `RECIPES`.
        data: The folder of data.
        folder: Where to write; made again by each call.
    """
    recipe = RECIPES[name]
    source = data / recipe.folder
    if recipe.examples is None:
        return source
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        text = path.read_text(encoding="utf-8")
        if path.name == recipe.train:
            draw = _draw_questions if path.suffix == ".json" else _draw_lines
            text = draw(text, recipe.examples)
        (target / path.name).write_text(text, encoding="utf-8", newline="")
    return target


def _draw_lines(text: str, count: int) -> str:
    lines = text.rstrip("\n").split("\n")
    kept = sorted(random.Random(DRAW_SEED).sample(range(len(lines)), count))
    return "".join(lines[position] + "\n" for position in kept)


def _draw_questions(text: str, count: int) -> str:
    content = json.loads(text)
    paragraphs = [each for article in content["data"] for each in article["paragraphs"]]
    names = [question["id"] for paragraph in paragraphs for question in paragraph["qas"]]
    kept = set(random.Random(DRAW_SEED).sample(names, count))
    for paragraph in paragraphs:
        paragraph["qas"] = [each for each in paragraph["qas"] if each["id"] in kept]
    return json.dumps(content)

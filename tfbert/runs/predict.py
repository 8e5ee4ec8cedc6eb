"""`tfbert predict`: labels for texts."""

import logging
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
from tqdm import tqdm

from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.io.text_files import read_lines
from tfbert.models.classifier import TrainedClassifier, load_classifier
from tfbert.options import require
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.outputs.run_directory import read_run_config
from tfbert.runs.scoring import log_probabilities, predict_logits
from tfbert.tasks.formats.rows import text_of
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.tables import form_of, open_table
from tfbert.tasks.tokenization import tokenize

log = logging.getLogger("tfbert")

_CHUNK = 4096  # lines read before the first answer: enough to sort into batches by length


def predict(config: PredictConfig) -> Iterator[dict[str, Any]]:
    """Labels the lines of a file or of standard input, or the rows of a table.

    Memory does not grow with their number, except for a JSON array.

    Yields:
        One answer a text, in order: a dict of `text`, `label` and `probability`, the label's own.
        Of a table: its row, and `label` and `probability`; where the row has columns of these
        names, they come as `given_label` and `given_probability`.

    Raises:
        InputError: If the input or the model cannot be read.
    """
    if config.input == "-" and sys.stdin.isatty():
        log.info("one text a line, please; Ctrl-D ends")
    inputs = _inputs(config)
    head = list(islice(inputs, 1))  # a wrong file is found before a model is loaded
    inputs = chain(head, inputs)
    classifier = load_classifier(config.model, POLICIES[choose_precision(config.precision)])
    # A person who types expects an answer to each line.
    is_typed = config.input == "-" and sys.stdin.isatty()
    chunk_size = 1 if is_typed else _CHUNK
    # On a terminal the answers themselves show how far it is, and a bar would run into them.
    hides_bar = not config.progress or is_typed or sys.stdout.isatty()
    with tqdm(unit=" texts", file=sys.stderr, disable=hides_bar) as bar:
        while chunk := list(islice(inputs, chunk_size)):
            texts, rows = zip(*chunk, strict=True)
            answers = predict_texts(classifier, list(texts), config.batch_size)
            for answer, row in zip(answers, rows, strict=True):
                found = {name: value for name, value in answer.items() if name != "text"}
                yield answer if row is None else {**_given(row, found), **found}
            bar.update(len(chunk))


def _inputs(config: PredictConfig) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yields (text, its row of a table, or None of a line)."""
    form = None if config.input == "-" else form_of(config.input)
    if form is None:
        for name in ("text_column", "separator"):
            value = getattr(config, name)
            words = "left out: only tables (.csv, .tsv, .jsonl, .json) have columns"
            require(value is None, name, value, words)
        for _, line in read_lines(config.input, config.encoding):
            yield line.rstrip("\r\n"), None
        return
    run = read_run_config(config.model)
    recorded = run.get("text_column") or TASKS[run.get("task", "csv")].text_column
    column = config.text_column or recorded
    table = open_table(config.input, form, (column,), config.encoding, config.separator)
    for place, row in table.rows:
        yield text_of(row[table.columns[0]], config.input, place), row


def _given(row: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The row, with the columns that an answer has, too, under other names."""
    return {f"given_{name}" if name in answer else name: value for name, value in row.items()}


def predict_texts(
    classifier: TrainedClassifier, texts: list[str], batch_size: int = 64
) -> list[dict[str, Any]]:
    """Labels a list of texts with a `TrainedClassifier`; the answers are those of `predict`."""
    if isinstance(texts, str):
        raise TypeError("predict_texts takes a list of texts, not one text")
    if not texts:
        return []
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    probabilities = np.exp(log_probabilities(predict_logits(classifier, tokens, batch_size)))
    return [
        {"text": text, "label": classifier.labels[row.argmax()], "probability": float(row.max())}
        for text, row in zip(texts, probabilities, strict=True)
    ]

"""`tfbert predict`: labels for texts."""

import functools
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
from tqdm import tqdm

from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.hardware.strategies import check_backend
from tfbert.io.text_files import read_lines
from tfbert.models.classifier import TrainedClassifier, load_classifier
from tfbert.options import require
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.masked_words import answers, load_masked_word_model, require_masks
from tfbert.runs.outputs.run_directory import read_run_config
from tfbert.runs.scoring import log_probabilities, predict_logits
from tfbert.tasks.formats.rows import text_of
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.tables import form_of, open_table
from tfbert.tasks.tokenization import text_list, tokenize

log = logging.getLogger("tfbert")

_CHUNK = 4096  # lines read before the first answer: enough to sort into batches by length


def predict(config: PredictConfig) -> Iterator[dict[str, Any]]:
    """Labels the lines of a file or of standard input, or the rows of a table.

    Memory does not grow with their number, except for a JSON array.

    Yields:
        One answer a text, in order: a dict of `text`, `label` and `probability`, the label's own;
        of a model with a masked-LM head and no other, the dict of `masked_words.answers`. Of a
        table: its row, and the answer's other keys; where the row has columns of these names, they
        come as `given_label` and so on.

    Raises:
        InputError: If the input or the model cannot be read.
    """
    check_backend()
    if config.input == "-" and sys.stdin.isatty():
        log.info("one text a line, please; Ctrl-D ends")
    inputs = _inputs(config)
    # A person who types expects an answer to each line.
    is_typed = config.input == "-" and sys.stdin.isatty()
    chunk_size = 1 if is_typed else _CHUNK
    first = list(islice(inputs, chunk_size))  # a wrong file is found before a model is loaded
    answer_texts = _answerer(config, [text for text, _ in first])
    inputs = chain(first, inputs)
    # On a terminal the answers themselves show how far it is, and a bar would run into them.
    hides_bar = not config.progress or is_typed or sys.stdout.isatty()
    with tqdm(unit=" texts", file=sys.stderr, disable=hides_bar) as bar:
        while chunk := list(islice(inputs, chunk_size)):
            texts, rows = zip(*chunk, strict=True)
            for answer, row in zip(answer_texts(list(texts)), rows, strict=True):
                found = {name: value for name, value in answer.items() if name != "text"}
                yield answer if row is None else {**_given(row, found), **found}
            bar.update(len(chunk))


def _answerer(
    config: PredictConfig, first: list[str]
) -> Callable[[list[str]], Iterable[dict[str, Any]]]:
    """What answers some texts, of which `first` are the first: a classifier, or masked words."""
    policy = POLICIES[choose_precision(config.precision)]
    if masked := load_masked_word_model(config.model, policy):
        require_masks(masked, first)
        return functools.partial(answers, masked, batch_size=config.batch_size)
    classifier = load_classifier(config.model, policy)
    return functools.partial(predict_texts, classifier, batch_size=config.batch_size)


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
    classifier: TrainedClassifier, texts: Iterable[str], batch_size: int = 64
) -> list[dict[str, Any]]:
    """Labels texts with a `TrainedClassifier`; the answers are those of `predict`.

    Args:
        texts: A list, tuple, one-dimensional array, pandas Series or string tensor; a text may be
            empty.

    Raises:
        TypeError: If it is none of these, or one of the texts is something else, such as NaN.
        InputError: If Keras does not run on TensorFlow.
    """
    check_backend()
    texts = text_list(texts)
    if not texts:
        return []
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    probabilities = np.exp(log_probabilities(predict_logits(classifier, tokens, batch_size)))
    return [
        {"text": text, "label": classifier.labels[row.argmax()], "probability": float(row.max())}
        for text, row in zip(texts, probabilities, strict=True)
    ]

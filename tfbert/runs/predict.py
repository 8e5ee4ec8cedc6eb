"""`tfbert predict`: labels for texts."""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
from tqdm import tqdm

from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.io.text_files import read_lines
from tfbert.models.classifier import TrainedClassifier, load_classifier
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.masked_words import answers, load_masked_word_model
from tfbert.runs.scoring import log_probabilities, predict_logits
from tfbert.tasks.tokenization import text_list, tokenize

_CHUNK = 4096  # lines read before the first answer: enough to sort into batches by length


def predict(config: PredictConfig) -> Iterator[dict[str, Any]]:
    """Labels the lines of a file or of standard input; memory does not grow with their number.

    Yields:
        One answer a line, in order: a dict of `text`, `label` and `probability`, the label's own;
        of a model with a masked-LM head and no other, the dict of `masked_words.answers`.
    """
    lines = read_lines(config.input, config.encoding)
    head = list(islice(lines, 1))  # a wrong file is found before a model is loaded
    lines = chain(head, lines)
    policy = POLICIES[choose_precision(config.precision)]
    if masked := load_masked_word_model(config.model, policy):
        texts = (line.rstrip("\r\n") for _, line in lines)
        yield from answers(masked, texts, config.batch_size)
        return
    classifier = load_classifier(config.model, policy)
    # A person who types expects an answer to each line.
    chunk_size = 1 if config.input == "-" and sys.stdin.isatty() else _CHUNK
    with tqdm(unit=" texts", file=sys.stderr, disable=not config.progress) as bar:
        while chunk := [line.rstrip("\r\n") for _, line in islice(lines, chunk_size)]:
            yield from predict_texts(classifier, chunk, config.batch_size)
            bar.update(len(chunk))


def predict_texts(
    classifier: TrainedClassifier, texts: Iterable[str], batch_size: int = 64
) -> list[dict[str, Any]]:
    """Labels texts with a `TrainedClassifier`; the answers are those of `predict`.

    Args:
        texts: A list, tuple, one-dimensional array, pandas Series or string tensor; a text may be
            empty.

    Raises:
        TypeError: If it is none of these, or one of the texts is something else, such as NaN.
    """
    texts = text_list(texts)
    if not texts:
        return []
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    probabilities = np.exp(log_probabilities(predict_logits(classifier, tokens, batch_size)))
    return [
        {"text": text, "label": classifier.labels[row.argmax()], "probability": float(row.max())}
        for text, row in zip(texts, probabilities, strict=True)
    ]

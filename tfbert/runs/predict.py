"""Labels for texts, and the logits behind them."""

import sys
from itertools import chain, islice

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfbert.hardware.memory import out_of_memory_advice
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.io.text_files import read_lines
from tfbert.models.classifier import load_classifier
from tfbert.runs.callbacks import ProgressBar
from tfbert.tasks.batch_sources import prediction_dataset
from tfbert.tasks.batching import LengthBatches, padded_lengths
from tfbert.tasks.tokenization import tokenize

_CHUNK = 4096  # lines read before the first answer: enough to sort into batches by length


def predict_logits(classifier, texts, batch_size, title=None):
    """The logits of tokenized texts, in their order.

    Args:
        classifier: A `TrainedClassifier`; its model may be distributed.
        texts: `TokenizedTexts`.
        batch_size: Texts a step, over all replicas together.
        title: Title of the progress bar; None shows none.

    Returns:
        (texts, classes) float32.
    """
    rows, count = rows_for(classifier, batch_size), len(texts)
    if not rows and 0 < count < batch_size:
        # Every number of rows has programs of its own (see `tfbert.models.kernels.fused`): a
        # service that gets a few texts at a time shall not make them for each number.
        texts = texts.filled_up(min(batch_size, 1 << (count - 1).bit_length()))
    # Batches of as many texts as rows: only the last one may be filled up.
    batches = LengthBatches(texts.lengths, rows or batch_size)
    dataset = prediction_dataset(texts, batches, lengths_for(classifier), rows)
    bar = [ProgressBar(count, batch_size, title)] if title else []
    with out_of_memory_advice(batch_size, classifier.max_length):
        found = classifier.model.predict(dataset, verbose=0, callbacks=bar)
    logits = np.empty((len(texts), found.shape[-1]), np.float32)
    logits[np.concatenate(batches.epoch(0))] = found[: len(texts)]
    return logits[:count]


def lengths_for(classifier, only_longest=False):
    """The lengths that a classifier's batches may be padded to.

    Few where XLA compiles each, and one on a TPU, which takes batches of one shape only, or with
    `only_longest`.
    """
    on_tpu = isinstance(classifier.model.distribute_strategy, tf.distribute.TPUStrategy)
    if on_tpu or only_longest:
        return np.array([classifier.max_length])
    return padded_lengths(classifier.max_length, few=classifier.model.jit_compile)


def rows_for(classifier, batch_size):
    """The rows that every batch must have, or None where they may differ.

    On a TPU all batches have one shape, which its cores can share.
    """
    strategy = classifier.model.distribute_strategy
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return None
    cores = strategy.num_replicas_in_sync
    return -(-batch_size // cores) * cores


def predict(config):
    """Labels the lines of a file or of standard input; memory does not grow with their number.

    Args:
        config: A `PredictConfig`.

    Yields:
        One answer a line, in order: a dict of `text`, `label` and `probability`, the label's own.
    """
    lines = read_lines(config.input, config.encoding)
    head = list(islice(lines, 1))  # a wrong file is found before a model is loaded
    lines = chain(head, lines)
    classifier = load_classifier(config.model, POLICIES[choose_precision(config.precision)])
    # Whoever types wants an answer to each line.
    chunk_size = 1 if config.input == "-" and sys.stdin.isatty() else _CHUNK
    with tqdm(unit=" texts", file=sys.stderr, disable=not config.progress) as bar:
        while chunk := [line.rstrip("\r\n") for _, line in islice(lines, chunk_size)]:
            yield from predict_texts(classifier, chunk, config.batch_size)
            bar.update(len(chunk))


def predict_texts(classifier, texts, batch_size=64):
    """Labels a list of texts with a `TrainedClassifier`; the answers are those of `predict`."""
    if isinstance(texts, str):
        raise TypeError("predict_texts takes a list of texts, not one text")
    if not texts:
        return []
    tokens = tokenize(classifier.tokenizer, texts, classifier.max_length)
    logits = predict_logits(classifier, tokens, batch_size).astype(np.float64)
    probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    return [
        {"text": text, "label": classifier.labels[row.argmax()], "probability": float(row.max())}
        for text, row in zip(texts, probabilities, strict=True)
    ]

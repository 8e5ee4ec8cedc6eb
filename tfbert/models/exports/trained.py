"""Any trained BERT with the heads that it has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tfbert.models.classifier import TrainedClassifier, load_classifier
from tfbert.models.formats.folder import OpenedModel
from tfbert.models.pretrainer import HEADS_FILE, BertPretrainer, load_pretrainer
from tfbert.models.sources import Encoder, load_encoder, open_source
from tfbert.text.tokenizer import BertTokenizer


class Pretrained(NamedTuple):
    """A model with pre-training heads, and the tokenizer that belongs to it."""

    model: BertPretrainer
    tokenizer: BertTokenizer


Trained: TypeAlias = TrainedClassifier | Pretrained | Encoder


def load_trained(source: str) -> Trained:
    """Loads a model with all heads that it has, in float32.

    Args:
        source: Any MODEL argument.

    Raises:
        InputError: If there is no such model.
    """
    heads = heads_of(source)
    if "classification" in heads:
        return load_classifier(source)
    if "masked-LM" in heads:
        return Pretrained(*load_pretrainer(source, next_sentence="next-sentence" in heads))
    return load_encoder(source, "float32")


def heads_of(source: str) -> set[str]:
    """Which of `classification`, `masked-LM` and `next-sentence` a MODEL argument has a head for.

    Raises:
        InputError: If there is no such model.
    """
    opened = open_source(source)
    if isinstance(opened, OpenedModel):
        return set(opened.heads)
    folder = Path(opened)
    if (folder / "task.json").exists():
        return {"classification"}
    if not (folder / HEADS_FILE).exists():
        return set()
    # The names only; `load_pretrainer` reads the values, and refuses a damaged file.
    with np.load(folder / HEADS_FILE) as file:
        has_next = "nsp_head/kernel" in file.files
    return {"masked-LM", "next-sentence"} if has_next else {"masked-LM"}

"""Any trained BERT with the heads that it has."""

from __future__ import annotations

import contextlib
import logging
import zipfile
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from tfbert.errors import InputError
from tfbert.models.formats.folder import OpenedModel
from tfbert.models.formats.stored_weights import TASK_HEAD
from tfbert.models.pretrainer import HEADS_FILE, BertPretrainer, load_pretrainer
from tfbert.models.sources import Encoder, load_encoder, open_source
from tfbert.models.trained_model import HEAD_FILE, TrainedModel, in_data_unit, load_model
from tfbert.text.tokenizer import BertTokenizer

log = logging.getLogger("tfbert")


class Pretrained(NamedTuple):
    """A model with pre-training heads, and the tokenizer that belongs to it."""

    model: BertPretrainer
    tokenizer: BertTokenizer


Trained: TypeAlias = TrainedModel | Pretrained | Encoder


def load_trained(source: str) -> Trained:
    """Loads a model with all heads that it has, in float32.

    Args:
        source: Any MODEL argument.

    Raises:
        InputError: If there is no such model.
    """
    opened = open_source(source)
    if isinstance(opened, str) and not Path(opened).is_dir():
        # A preset by its name: only KerasHub, which fetches it, finds out whether it has a head.
        with contextlib.suppress(InputError):
            return in_data_unit(load_model(source))
    heads = _heads(opened)
    if TASK_HEAD in heads:
        return in_data_unit(load_model(source))
    if "masked-LM" in heads:
        return Pretrained(*load_pretrainer(source, next_sentence="next-sentence" in heads))
    if heads:
        log.info("model %s: a next-sentence head alone is left out", source)
    return load_encoder(source, "float32")


def _heads(opened: OpenedModel | str) -> set[str]:
    """Keys of `stored_weights.HEADS`: which heads there are."""
    if isinstance(opened, OpenedModel):
        return set(opened.heads)
    folder = Path(opened)
    if (folder / "task.json").exists() or (folder / HEAD_FILE).exists():
        return {TASK_HEAD}
    if not (folder / HEADS_FILE).exists():
        return set()
    try:
        with np.load(folder / HEADS_FILE) as file:
            has_next = "nsp_head/kernel" in file.files
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        has_next = False  # `load_pretrainer` says what is wrong
    return {"masked-LM", "next-sentence"} if has_next else {"masked-LM"}

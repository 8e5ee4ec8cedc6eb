"""`tfbert predict` on a model with a masked-LM head: the words that may stand at each [MASK]."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import keras
import numpy as np

from tfbert.errors import InputError
from tfbert.models.pretrainer import BertPretrainer, has_masked_lm_head, load_pretrainer
from tfbert.tasks.problems.classification import log_probabilities
from tfbert.tasks.tokens.batching import PAD_MULTIPLE
from tfbert.text.tokenizer import BertTokenizer

MASK = "[MASK]"
_WORDS = 5  # answers a [MASK]


class MaskedWordModel(NamedTuple):
    """A model that predicts masked words; `source` is what the user calls it."""

    model: BertPretrainer
    tokenizer: BertTokenizer
    source: str


def load_masked_word_model(source: str, dtype: str = "float32") -> MaskedWordModel | None:
    """The model of a MODEL argument that has a masked-LM head and no classification head.

    Returns:
        None if it is another one.

    Raises:
        InputError: If there is no such model.
    """
    if not has_masked_lm_head(source):
        return None
    return MaskedWordModel(*load_pretrainer(source, dtype, next_sentence=False), source)


def answers(
    model: MaskedWordModel, texts: Iterable[str], batch_size: int = 64, count: int = _WORDS
) -> Iterator[dict[str, Any]]:
    """The most probable words for each `[MASK]` of some texts.

    Yields:
        One answer a text, in order: a dict of `text` and `words`, for each [MASK] a list of
        {"word", "probability"}, the best one first; `words` is empty where there is no [MASK].

    Raises:
        InputError: If those of a text lie further apart than the model sees.
    """
    texts = iter(texts)
    while chunk := list(islice(texts, batch_size)):
        yield from _answer(model, chunk, count)


def require_masks(model: MaskedWordModel, texts: Iterable[str]) -> None:
    """Raises InputError where none of the texts has a [MASK]: a classifier was meant, then."""
    if not any(MASK in text for text in texts):
        raise InputError(
            f"model {model.source}: an encoder without a classification head; train one with "
            f"`tfbert finetune --model {model.source}`, or give texts with {MASK}, for which it "
            "predicts words"
        )


def _answer(model, texts, count):
    """The answers for one batch."""
    encoded = model.tokenizer.encode_masked(texts)
    rows = [_window(model, text, ids) for text, ids in zip(texts, encoded, strict=True)]
    positions = [np.flatnonzero(row == model.tokenizer.mask_token_id) for row in rows]
    length = -(-max(map(len, rows)) // PAD_MULTIPLE) * PAD_MULTIPLE
    length = min(length, model.model.backbone.max_sequence_length)
    ids = np.full((len(rows), length), model.tokenizer.pad_token_id, "int32")
    places = np.zeros((len(rows), max([1, *map(len, positions)])), "int32")
    for number, (row, found) in enumerate(zip(rows, positions, strict=True)):
        ids[number, : len(row)] = row
        places[number, : len(found)] = found
    inputs = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": (ids != model.tokenizer.pad_token_id).astype("int32"),
        "mask_positions": places,
    }
    logits = keras.ops.convert_to_numpy(model.model(inputs, training=False)["mlm"])
    pieces = model.tokenizer.vocabulary.pieces
    # A table may have more rows than there are word pieces.
    probabilities = np.exp(log_probabilities(logits[..., : len(pieces)]))
    for text, found, row in zip(texts, positions, probabilities, strict=True):
        words = []
        for values in row[: len(found)]:
            best = np.argsort(-values, kind="stable")[:count]
            words.append([{"word": pieces[n], "probability": float(values[n])} for n in best])
        yield {"text": text, "words": words}


def _window(model, text, ids):
    """(tokens,) int32 with [CLS] and [SEP]: of a long text the part around its [MASK]s."""
    room = model.model.backbone.max_sequence_length - 2
    masks = np.flatnonzero(ids == model.tokenizer.mask_token_id)
    begin = 0
    if len(ids) > room and len(masks):
        first, last = int(masks[0]), int(masks[-1])
        if last - first >= room:
            raise InputError(
                f"the {MASK}s of {text[:40]!r}... are {last - first + 1} tokens apart, and the "
                f"model sees {room}"
            )
        begin = min(max((first + last - room) // 2, 0, last - room + 1), first, len(ids) - room)
    cls, sep = model.tokenizer.cls_token_id, model.tokenizer.sep_token_id
    return np.array([cls, *ids[begin : begin + room], sep], "int32")

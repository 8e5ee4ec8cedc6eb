"""Texts to token ids, each text cut to the longest length that the model is to see.

This is the one place where fine-tuning, evaluation and prediction cut a text (`cut_to_length`);
batches only pad. Training records are cut in `tfbert.records.sequences`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tfbert.text.tokenizer import BertTokenizer


@dataclasses.dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of many texts, end to end.

    Args:
        values: (tokens,) int32, every text as [CLS] ... [SEP].
        starts: (texts + 1,) int64, where each text begins in `values`.
        pad_token_id: Id of [PAD].
        truncated_texts: How many texts were longer than the limit and were cut.
        dropped_tokens: How many tokens were cut off them.
    """

    values: np.ndarray
    starts: np.ndarray
    pad_token_id: int
    truncated_texts: int
    dropped_tokens: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(texts,) int64: tokens of each text, [CLS] and [SEP] included."""
        return np.diff(self.starts)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.starts[index] : self.starts[index + 1]]

    def filled_up(self, count: int) -> TokenizedTexts:
        """The same texts, and copies of the first after them until there are `count`."""
        missing = count - len(self)
        first = self[0]
        return dataclasses.replace(
            self,
            values=np.concatenate([self.values, np.tile(first, missing)]),
            starts=np.concatenate(
                [self.starts, self.starts[-1] + len(first) * np.arange(1, missing + 1)]
            ),
        )


def tokenize(tokenizer: BertTokenizer, texts: Sequence[str], max_length: int) -> TokenizedTexts:
    """Tokenizes sentences or documents; those that are too long lose their end.

    `max_length` counts [CLS] and [SEP].
    """
    ids, starts = tokenizer.encode_in_a_row(texts)
    lengths = np.diff(starts)
    kept = cut_to_length(lengths, max_length)
    new_starts = np.concatenate([[0], np.cumsum(kept + 2)])
    values = np.empty(new_starts[-1], np.int32)
    values[new_starts[:-1]] = tokenizer.cls_token_id
    values[new_starts[1:] - 1] = tokenizer.sep_token_id
    for begin, source, count in zip(new_starts[:-1] + 1, starts[:-1], kept, strict=True):
        values[begin : begin + count] = ids[source : source + count]
    return TokenizedTexts(
        values,
        new_starts,
        tokenizer.pad_token_id,
        truncated_texts=int((kept < lengths).sum()),
        dropped_tokens=int((lengths - kept).sum()),
    )


def cut_to_length(lengths: np.ndarray, max_length: int) -> np.ndarray:
    """How many of the first tokens of each text are kept: [CLS] and [SEP] need room, too."""
    return np.minimum(lengths, max_length - 2)


def text_list(texts: Iterable[Any]) -> list[str]:
    """Texts of any one-dimensional container, or TypeError with the position of what is no text.

    Tensors and arrays of bytes are read as UTF-8.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError("a list of texts is needed, not one text")
    is_container = hasattr(texts, "__iter__") or hasattr(texts, "numpy")
    if not is_container or isinstance(texts, (Mapping, Set)) or getattr(texts, "ndim", 1) != 1:
        raise TypeError(
            f"a list of texts, or anything one-dimensional, is needed, not {type(texts).__name__}"
        )
    if hasattr(texts, "numpy"):  # a tensor
        texts = texts.numpy()
    if isinstance(texts, np.ndarray) and texts.dtype.kind in "SO":
        texts = [text.decode() if isinstance(text, bytes) else text for text in texts]
    found = list(texts)
    for position, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(
                f"the text at position {position} is {text!r} ({type(text).__name__}), not text"
            )
    return [str(text) for text in found]  # NumPy's strings are a class of their own

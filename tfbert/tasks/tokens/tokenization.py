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
        values: (tokens,) int32, every text as [CLS] ... [SEP], every pair of texts as
            [CLS] ... [SEP] ... [SEP].
        starts: (texts + 1,) int64, where each text begins in `values`.
        second_starts: (texts,) int64, the token of each at which segment 1 begins, the second text
            of a pair; the text's length where there is none.
        pad_token_id: Id of [PAD].
        truncated_texts: How many texts were longer than the limit and were cut.
        dropped_tokens: How many tokens were cut off them.
        row_of: (vocabulary,) int32, the row of the model's word table that each id has, where the
            table has fewer rows than there are ids; None where a row's number is the id.
    """

    values: np.ndarray
    starts: np.ndarray
    second_starts: np.ndarray
    pad_token_id: int
    truncated_texts: int
    dropped_tokens: int
    row_of: np.ndarray | None = None

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
            second_starts=np.append(self.second_starts, np.repeat(self.second_starts[:1], missing)),
        )


def tokenize(
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    max_length: int,
    pairs: Sequence[str] | None = None,
) -> TokenizedTexts:
    """Tokenizes sentences or documents; those that are too long lose their end.

    Args:
        max_length: Most tokens, [CLS] and [SEP] included.
        pairs: The second text of each, in segment 1.
    """
    parts = [tokenizer.encode_in_a_row(texts)]
    if pairs is not None:
        parts.append(tokenizer.encode_in_a_row(pairs))
    lengths = np.stack([np.diff(starts) for _, starts in parts])  # (1 or 2, texts)
    kept = cut_to_length(lengths, max_length)
    # Every part is followed by [SEP], and the first one comes after [CLS].
    begins = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(1 + (kept + 1).sum(0), out=begins[1:])
    values = np.full(begins[-1], tokenizer.sep_token_id, np.int32)
    values[begins[:-1]] = tokenizer.cls_token_id
    at = begins[:-1] + 1
    seconds = begins[1:] - begins[:-1]
    for number, ((ids, starts), counts) in enumerate(zip(parts, kept, strict=True)):
        if number == 1:
            seconds = at - begins[:-1]
        for begin, source, count in zip(at, starts[:-1], counts, strict=True):
            values[begin : begin + count] = ids[source : source + count]
        at = at + counts + 1
    return TokenizedTexts(
        values,
        begins,
        seconds,
        tokenizer.pad_token_id,
        truncated_texts=int((kept < lengths).any(0).sum()),
        dropped_tokens=int((lengths - kept).sum()),
    )


def cut_to_length(lengths: np.ndarray, max_length: int) -> np.ndarray:
    """How many of the first tokens of each text are kept: [CLS] and [SEP] need room, too.

    Args:
        lengths: (1, texts) or, of pairs, (2, texts). Of a pair that is too long the longer one
            is cut first; where both are too long, each gets a half, and the longer one, or the
            second, the odd token: as in Hugging Face's tokenizers.

    Returns:
        The same shape.
    """
    room = max_length - 1 - len(lengths)
    if len(lengths) == 1:
        return np.minimum(lengths, room)
    first, second = lengths
    share = np.where(first > second, room - room // 2, room // 2)
    return np.stack(
        [
            np.minimum(first, np.maximum(share, room - second)),
            np.minimum(second, np.maximum(room - share, room - first)),
        ]
    )


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

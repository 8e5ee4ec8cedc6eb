"""Texts to token ids, each text cut to the longest length that the model is to see.

This is the one place where fine-tuning, evaluation and prediction cut a text (`cut_to_length`);
batches only pad. Training records are cut in `tfbert.records.sequences`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras_hub
    import tensorflow as tf

_CHUNK = 4096  # texts tokenized in one call: large enough to be fast, small enough for memory


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


def tokenize(
    tokenizer: keras_hub.models.BertTokenizer, texts: Sequence[str], max_length: int
) -> TokenizedTexts:
    """Tokenizes sentences or documents; those that are too long lose their end.

    `max_length` counts [CLS] and [SEP].
    """
    import tensorflow as tf

    tokenize_chunk = _in_a_graph(tokenizer)
    pieces: list[Sequence[int] | np.ndarray] = []
    lengths = [0]
    truncated = dropped = 0
    for begin in range(0, len(texts), _CHUNK):
        ragged = tokenize_chunk(tf.constant(texts[begin : begin + _CHUNK]))
        for ids in np.split(ragged.values.numpy(), ragged.row_splits.numpy()[1:-1]):
            kept = cut_to_length(ids, max_length)
            truncated += len(kept) < len(ids)
            dropped += len(ids) - len(kept)
            pieces += [[tokenizer.cls_token_id], kept, [tokenizer.sep_token_id]]
            lengths.append(len(kept) + 2)
    values = np.concatenate(pieces).astype(np.int32) if pieces else np.zeros(0, np.int32)
    return TokenizedTexts(
        values, np.cumsum(lengths), tokenizer.pad_token_id, int(truncated), int(dropped)
    )


def cut_to_length(ids: np.ndarray, max_length: int) -> np.ndarray:
    """The first token ids of a text, with room for [CLS] and [SEP] in `max_length`."""
    return ids[: max_length - 2]


@functools.lru_cache(maxsize=4)
def _in_a_graph(
    tokenizer: keras_hub.models.BertTokenizer,
) -> Callable[[tf.Tensor], tf.RaggedTensor]:
    """Called eagerly, KerasHub's tokenizers return Python lists, at a fraction of the speed."""
    import tensorflow as tf

    return tf.function(tokenizer, input_signature=[tf.TensorSpec([None], tf.string)])

"""Texts to token ids, end to end in one array."""

import dataclasses
import functools

import numpy as np

_CHUNK = 4096  # texts tokenized in one call: large enough to be fast, small enough for memory


@dataclasses.dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of many texts, end to end.

    Args:
        values: (tokens,) int32, every text as [CLS] ... [SEP].
        starts: (texts + 1,) int64, where each text begins in `values`.
        pad_token_id: Id of [PAD].
        truncated_texts: How many texts were longer than the limit.
        dropped_tokens: How many tokens that cost.
    """

    values: np.ndarray
    starts: np.ndarray
    pad_token_id: int
    truncated_texts: int
    dropped_tokens: int

    def __len__(self):
        return len(self.starts) - 1

    @property
    def lengths(self):
        """(texts,) int64: tokens of each text, [CLS] and [SEP] included."""
        return np.diff(self.starts)

    def __getitem__(self, index):
        return self.values[self.starts[index] : self.starts[index + 1]]

    def filled_up(self, count):
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


def tokenize(tokenizer, texts, max_length):
    """Tokenizes single sentences, or documents, cut at the end where they are too long.

    Args:
        tokenizer: A KerasHub `BertTokenizer`.
        texts: List of strings.
        max_length: Longest sequence, [CLS] and [SEP] included.

    Returns:
        `TokenizedTexts`.
    """
    import tensorflow as tf

    tokenize_chunk = _in_a_graph(tokenizer)
    pieces, lengths = [], [0]
    truncated = dropped = 0
    room = max_length - 2
    for begin in range(0, len(texts), _CHUNK):
        ragged = tokenize_chunk(tf.constant(texts[begin : begin + _CHUNK]))
        for ids in np.split(ragged.values.numpy(), ragged.row_splits.numpy()[1:-1]):
            truncated += len(ids) > room
            dropped += max(0, len(ids) - room)
            pieces += [[tokenizer.cls_token_id], ids[:room], [tokenizer.sep_token_id]]
            lengths.append(min(len(ids), room) + 2)
    values = np.concatenate(pieces).astype(np.int32) if pieces else np.zeros(0, np.int32)
    return TokenizedTexts(
        values, np.cumsum(lengths), tokenizer.pad_token_id, int(truncated), int(dropped)
    )


@functools.lru_cache(maxsize=4)
def _in_a_graph(tokenizer):
    """Called eagerly, KerasHub's tokenizers return Python lists, at a fraction of the speed."""
    import tensorflow as tf

    return tf.function(tokenizer, input_signature=[tf.TensorSpec([None], tf.string)])

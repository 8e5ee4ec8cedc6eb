"""BERT's tokenizer as TensorFlow operations, to be saved with a model: text in, token ids out.

The ids are those of `tfbert.text.tokenizer.BertTokenizer`. Only operations of TensorFlow's core
are used, none of tensorflow-text, so that whatever loads SavedModels can run it.
"""

from __future__ import annotations

import tensorflow as tf

from tfbert.models.exports.characters import ITSELF, PAGE, character_pages
from tfbert.text.tokenizer import LONGEST_WORD, BertTokenizer
from tfbert.text.vocabulary import CONTINUATION

_ABSENT = -1  # of look-ups, and after the last piece of a word


class GraphTokenizer(tf.Module):
    """Texts to token ids, inside a graph.

    Args:
        tokenizer: Whose rules and vocabulary to use.
    """

    def __init__(self, tokenizer: BertTokenizer) -> None:
        super().__init__(name="tokenizer")
        pieces = tokenizer.vocabulary.pieces
        self._unknown_id = tokenizer.unk_token_id
        # No word has a longer piece.
        self._longest_piece = max(len(piece.removeprefix(CONTINUATION)) for piece in pieces)
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(pieces), tf.range(len(pieces), dtype=tf.int32)
            ),
            default_value=_ABSENT,
        )
        # Made here, outside of any graph, so that all functions share them.
        self._pages, self._page_numbers = map(tf.constant, character_pages(tokenizer))

    def __call__(self, texts: tf.Tensor, most_words: int | None = None) -> tf.RaggedTensor:
        """Token ids without special tokens.

        Args:
            texts: (batch,) strings, UTF-8. Bytes that are not are dropped.
            most_words: Words of each text that are cut into pieces, where no more tokens than that
                are wanted: each word gives at least one.

        Returns:
            (batch, (tokens)) int32.
        """
        words = self.words(texts)[:, :most_words]
        # A word that occurs often is cut once.
        distinct, numbers = tf.unique(words.flat_values)
        pieces = tf.gather(self._pieces(distinct), numbers)  # (words, (pieces))
        return words.with_flat_values(pieces).merge_dims(1, 2)

    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The words and punctuation marks of texts, cleaned: (batch, (words)) strings."""
        codes = tf.strings.unicode_decode(texts, "UTF-8", errors="ignore")
        flat = codes.flat_values
        page = tf.gather(self._page_numbers, flat // PAGE)
        places = tf.stack([page, flat % PAGE], axis=1)
        becomes = tf.gather_nd(self._pages, places)  # (characters, width)
        becomes = tf.where(becomes == ITSELF, flat[:, None], becomes)
        parts = tf.ragged.boolean_mask(becomes, becomes != 0)
        cleaned = codes.with_flat_values(parts).merge_dims(1, 2)
        return tf.strings.split(tf.strings.unicode_encode(cleaned, "UTF-8"))

    def _pieces(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Ids of the pieces of words: the longest piece that fits, again and again.

        Args:
            words: (words,) strings.

        Returns:
            (words, (pieces)) int32; the unknown token alone where a part of a word is no piece.
        """
        count = tf.size(words)
        sizes = tf.range(self._longest_piece, 0, -1)  # (sizes,)
        too_long = tf.strings.length(words, "UTF8_CHAR") > LONGEST_WORD

        def has_rest(ids, rest, unknown):
            return tf.reduce_any(rest != "")

        def cut(ids, rest, unknown):
            """Takes one piece from the start of each rest that has some left."""
            prefix = tf.where(tf.shape(ids)[1] == 0, "", CONTINUATION)
            begins = tf.strings.substr(
                rest[:, None], tf.zeros_like(sizes)[None], sizes[None], "UTF8_CHAR"
            )  # (words, sizes): the whole rest where it is shorter
            found = self._ids.lookup(prefix + begins)
            size = tf.reduce_max(tf.where(found != _ABSENT, sizes, 0), axis=1)  # (words,)
            size = tf.where(rest == "", 0, size)
            unknown |= (size == 0) & (rest != "")
            number = tf.minimum(self._longest_piece - size, self._longest_piece - 1)
            id_ = tf.where(size > 0, tf.gather(found, number, batch_dims=1), _ABSENT)
            left = tf.strings.length(rest, "UTF8_CHAR")
            rest = tf.strings.substr(rest, tf.minimum(size, left), left, "UTF8_CHAR")
            return tf.concat([ids, id_[:, None]], axis=1), tf.where(unknown, "", rest), unknown

        ids, _, unknown = tf.while_loop(
            has_rest,
            cut,
            (tf.zeros([count, 0], tf.int32), tf.where(too_long, "", words), too_long),
            (tf.TensorShape([None, None]), tf.TensorShape([None]), tf.TensorShape([None])),
        )
        ids = tf.where(unknown[:, None], _ABSENT, ids)
        first = tf.where(unknown, self._unknown_id, _ABSENT)
        ids = tf.concat([first[:, None], ids], axis=1)
        return tf.ragged.boolean_mask(ids, ids != _ABSENT)

"""Text to word pieces for training records, fast: each word is tokenized once and remembered.

Fine-tuning and prediction use KerasHub's tokenizer (`tfbert.text.tokenizer`); both return the same
ids for all but some rare characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfbert.text.vocabulary import CONTINUATION, Vocabulary

if TYPE_CHECKING:
    import tokenizers

LONGEST_WORD = 100  # characters; longer ones are [UNK], as in Hugging Face's BERT tokenizers
_REMEMBERED_WORDS = 400_000  # about 60 MB a process
_LONGEST_REMEMBERED = 40  # characters
_COMMON_MARKS = ",.'\"-()!?:;/*"
_SENTENCE_END = "\0"
_ASCII_PIECES = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")


class WordPieceTokenizer:
    """BERT's tokenization, to the ids of Hugging Face's `tokenizers`, several times faster.

    BERT never looks across white space, so the ids of a text are the ids of its words, and the
    words of a language repeat. New words are spelled here if they are plain ASCII, and by Hugging
    Face's tokenizer otherwise. A literal "[MASK]" in a text is several pieces, never
    the special token. `lowercase` also strips accents.

    References:
        Devlin et al., BERT, 2018; Wu et al., Google's neural machine translation system, 2016,
        section 4.1.
    """

    def __init__(self, vocabulary: Vocabulary, lowercase: bool = True) -> None:
        self.vocabulary = vocabulary
        self._lowercase = lowercase
        self._words = _Words(vocabulary, lowercase)

    def encode_sentences(self, sentences: Sequence[str]) -> bytes:
        """Ids of some sentences, with [PAD] (which no text can spell) at the end of each one.

        Args:
            sentences: Without the control characters that `corpus` replaces.

        Returns:
            The ids in `vocabulary.dtype`, without other special tokens.
        """
        text = f" {_SENTENCE_END} ".join([*sentences, ""])
        words = self._words
        if len(words) > _REMEMBERED_WORDS:
            words.clear()
        if text.isascii():
            # "The", "the" and "the," are one word to remember instead of three.
            text = text.lower() if self._lowercase else text
            for mark in _COMMON_MARKS:
                text = text.replace(mark, f" {mark} ")
        return b"".join(map(words.__getitem__, text.split()))


class _Words(dict[str, bytes]):
    """Word -> bytes of its ids; a word looked up for the first time is tokenized."""

    def __init__(self, vocabulary: Vocabulary, lowercase: bool) -> None:
        self._tokenizer = make_hugging_face_tokenizer(vocabulary.ids, lowercase)
        self._lowercase = lowercase
        self._dtype = vocabulary.dtype
        numbers = np.arange(len(vocabulary), dtype=vocabulary.dtype)
        self._ids = {
            piece: number.tobytes()
            for piece, number in zip(vocabulary.pieces, numbers, strict=True)
        }

    def __missing__(self, word: str) -> bytes:
        if word == _SENTENCE_END:
            return self._ids["[PAD]"]
        pieces = _ASCII_PIECES.findall(word) if word.isascii() and word.isprintable() else ()
        if len(pieces) > 1:
            # "word," and "(word" cost one look-up for each part.
            ids = b"".join([self[piece] for piece in pieces])
        elif pieces and len(word) <= LONGEST_WORD:
            ids = self._spell(word.lower() if self._lowercase else word)
        else:
            encoding = self._tokenizer.encode(word, add_special_tokens=False)
            ids = np.array(encoding.ids, self._dtype).tobytes()
        if len(word) <= _LONGEST_REMEMBERED:
            self[word] = ids
        return ids

    def _spell(self, word: str) -> bytes:
        """The ids of a plain ASCII word: the longest piece that fits, again and again."""
        ids, start, end = [], 0, len(word)
        while start < end:
            piece = CONTINUATION + word[start:end] if start else word[:end]
            if piece in self._ids:
                ids.append(self._ids[piece])
                start, end = end, len(word)
            else:
                end -= 1
        return b"".join(ids) if start == len(word) else self._ids["[UNK]"]


def make_hugging_face_tokenizer(ids: dict[str, int], lowercase: bool) -> tokenizers.Tokenizer:
    """Hugging Face's BERT tokenizer without special tokens, so that text cannot spell one.

    `ids` has the word pieces and their ids; `lowercase` also strips accents.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(
        models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer

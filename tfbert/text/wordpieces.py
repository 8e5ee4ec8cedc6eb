"""Text to word pieces, fast: words repeat, so each one is tokenized once and remembered."""

import re

import numpy as np

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
LONGEST_WORD = 100  # characters; longer ones are [UNK], as in Hugging Face's BERT tokenizers
_REMEMBERED_WORDS = 400_000  # about 60 MB a process
_LONGEST_REMEMBERED = 40  # characters
_COMMON_MARKS = ",.'\"-()!?:;/*"
_SENTENCE_END = "\0"
# Python splits at these control characters; BERT drops them.
_DROPPED = re.compile("[\x00\x0b\x0c\x1c-\x1f\x85]")
_ASCII_PIECES = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")


class Vocabulary:
    """Word pieces and their ids.

    Args:
        pieces: Tuple of strings; the position is the id.
        name: Where they came from, for messages.

    Raises:
        InputError: If a piece stands twice or a special token is missing.
    """

    def __init__(self, pieces, name="the vocabulary"):
        self.pieces = tuple(pieces)
        self.ids = {piece: number for number, piece in enumerate(self.pieces)}
        for token in SPECIAL_TOKENS:
            if token not in self.ids:
                raise InputError(f"{name}: has no {token}; a BERT vocabulary is needed")
        if len(self.ids) != len(self.pieces):
            seen = set()
            twice = next(piece for piece in self.pieces if piece in seen or seen.add(piece))
            raise InputError(f"{name}: {twice!r} stands in it twice")
        self.pad, self.unknown, self.cls, self.sep, self.mask = (
            self.ids[token] for token in SPECIAL_TOKENS
        )

    def __len__(self):
        return len(self.pieces)

    def to_bytes(self):
        """The content of a vocabulary file."""
        return "".join(piece + "\n" for piece in self.pieces).encode()

    @property
    def dtype(self):
        """The smallest little-endian type that holds every id and that `tf.io.decode_raw` knows."""
        return np.dtype("<u2" if len(self) <= 1 << 16 else "<i4")

    def is_special(self):
        """(pieces,) bool: `[PAD]`, `[CLS]`, `[unused7]` and whatever else stands in brackets."""
        return np.array(
            [len(piece) > 2 and piece[0] == "[" and piece[-1] == "]" for piece in self.pieces]
        )

    def is_continuation(self):
        """(pieces,) bool: `##ing`, pieces that go on with a word."""
        return np.array([piece.startswith(CONTINUATION) for piece in self.pieces])


def read_vocabulary(path, encoding="utf-8"):
    """Reads a file with one word piece a line.

    Raises:
        InputError: If the file cannot be read or is no BERT vocabulary.
    """
    pieces = [line.rstrip("\r\n") for _, line in read_lines(path, encoding)]
    while pieces and not pieces[-1]:
        pieces.pop()
    return Vocabulary(pieces, str(path))


class WordPieceTokenizer:
    """BERT's tokenization, to the ids of Hugging Face's `tokenizers`, several times faster.

    BERT never looks across white space, so the ids of a text are the ids of its words, and the
    words of a language repeat. Words not seen before are spelled here if they are plain ASCII, and
    go to Hugging Face's tokenizer otherwise. Literal "[MASK]" in a text is three pieces, never the
    special token.

    Args:
        vocabulary: `Vocabulary`.
        lowercase: Lower-case and strip accents.

    References:
        Devlin et al., BERT, 2018; Wu et al., Google's neural machine translation system, 2016,
        section 4.1.
    """

    def __init__(self, vocabulary, lowercase=True):
        self.vocabulary = vocabulary
        self._lowercase = lowercase
        self._words = _Words(vocabulary, lowercase)

    def encode(self, text):
        """Ids of a text.

        Returns:
            Bytes of the ids in `vocabulary.dtype`, without special tokens.
        """
        return self._encode(text if text.isprintable() else _DROPPED.sub("", text))

    def encode_sentences(self, sentences):
        """Ids of some sentences, with [PAD] (which no text can spell) at the end of each one.

        Args:
            sentences: List of strings without the control characters that `corpus` takes out.

        Returns:
            Bytes as in `encode`.
        """
        return self._encode(f" {_SENTENCE_END} ".join([*sentences, ""]))

    def _encode(self, text):
        words = self._words
        if len(words) > _REMEMBERED_WORDS:
            words.clear()
        if text.isascii():
            # "The", "the" and "the," are one word to remember instead of three.
            text = text.lower() if self._lowercase else text
            for mark in _COMMON_MARKS:
                text = text.replace(mark, f" {mark} ")
        return b"".join(map(words.__getitem__, text.split()))


class _Words(dict):
    """Word -> bytes of its ids; a word looked up for the first time is tokenized."""

    def __init__(self, vocabulary, lowercase):
        self._tokenizer = make_hugging_face_tokenizer(vocabulary.ids, lowercase)
        self._lowercase = lowercase
        self._dtype = vocabulary.dtype
        numbers = np.arange(len(vocabulary), dtype=vocabulary.dtype)
        self._ids = {
            piece: number.tobytes()
            for piece, number in zip(vocabulary.pieces, numbers, strict=True)
        }

    def __missing__(self, word):
        if word == _SENTENCE_END:
            return self._ids["[PAD]"]
        pieces = _ASCII_PIECES.findall(word) if word.isascii() and word.isprintable() else ()
        if len(pieces) > 1:
            # "word," and "(word" cost one look-up a part.
            ids = b"".join([self[piece] for piece in pieces])
        elif pieces and len(word) <= LONGEST_WORD:
            ids = self._spell(word.lower() if self._lowercase else word)
        else:
            encoding = self._tokenizer.encode(word, add_special_tokens=False)
            ids = np.array(encoding.ids, self._dtype).tobytes()
        if len(word) <= _LONGEST_REMEMBERED:
            self[word] = ids
        return ids

    def _spell(self, word):
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


def make_hugging_face_tokenizer(ids, lowercase):
    """Hugging Face's BERT tokenizer without special tokens, so that text cannot spell one.

    Args:
        ids: Dictionary of word pieces and their ids.
        lowercase: Lower-case and strip accents.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(
        models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer

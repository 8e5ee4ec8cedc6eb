"""Text to word pieces by BERT's own rules: the one tokenizer of the package.

The ids are those of Hugging Face's `BertTokenizer`, which follows Google's BERT code. There is one
deliberate difference: a literal "[SEP]" or "[MASK]" in a text is ordinary text, so that no text can
spell a special token; `encode_masked` is for texts in which "[MASK]" is meant.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfbert.errors import InputError
from tfbert.text.vocabulary import CONTINUATION, Vocabulary

if TYPE_CHECKING:
    import keras_hub
    import tokenizers

LONGEST_WORD = 100  # characters; longer ones are [UNK]
_REMEMBERED_WORDS = 400_000  # about 60 MB a process
_LONGEST_REMEMBERED = 40  # characters
_GROUP = 1_000_000  # characters of texts that are tokenized together
_COMMON_MARKS = ",.'\"-()!?:;/*"
_TEXT_END = "\0"
# Characters at which Python's `split` divides words, and which BERT drops.
_DROPPED = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]+")
_ASCII_PIECES = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")


class BertTokenizer:
    """BERT's tokenization: clean, split into words, cut words into the longest known pieces.

    Every space character of Unicode divides words; control and format characters (soft hyphens,
    zero-width ones) are dropped; punctuation stands alone. Letters are lower-cased, never folded:
    "ß" stays "ß", a ligature or a superscript stays itself. A word of more than 100 characters is
    [UNK].

    BERT never looks across white space, so the ids of a text are the ids of its words, and the
    words of a language repeat: each is remembered, within bounds. New words are spelled here if
    they are plain ASCII, and by Hugging Face's `tokenizers` otherwise, whatever the script.

    Args:
        vocabulary: Word pieces.
        lowercase: Whether letters are lower-cased (an uncased model).
        strip_accents: Whether accents are taken off; None means as `lowercase`. The attribute is
            always True or False.
        tokenize_chinese_chars: Whether each Chinese character is a word.

    Attributes:
        cls_token_id, sep_token_id, pad_token_id, mask_token_id, unk_token_id: Ids of the special
            tokens.

    References:
        Devlin et al., BERT, 2018, and `tokenization.py` of google-research/bert; Wu et al.,
        Google's neural machine translation system, 2016, section 4.1.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> None:
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self.strip_accents = lowercase if strip_accents is None else strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.cls_token_id = vocabulary.cls
        self.sep_token_id = vocabulary.sep
        self.pad_token_id = vocabulary.pad
        self.mask_token_id = vocabulary.mask
        self.unk_token_id = vocabulary.unknown
        self._words = _Words(self)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text: (tokens,) int32, without special tokens."""
        ids, starts = self.encode_in_a_row(texts)
        return [ids[begin:end] for begin, end in itertools.pairwise(starts.tolist())]

    def encode_masked(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` of texts in which each literal "[MASK]" is the special token."""
        parts = [text.split("[MASK]") for text in texts]
        rows = iter(self.encode([part for text in parts for part in text]))
        mask = np.array([self.mask_token_id], np.int32)
        encoded = []
        for text in parts:
            row = [next(rows)]
            for _ in text[1:]:
                row += [mask, next(rows)]
            encoded.append(np.concatenate(row))
        return encoded

    def encode_in_a_row(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """`encode`, as fast as it goes: (all ids, (tokens,) int32; starts, (texts + 1,) int64).

        Text i is `ids[starts[i]:starts[i + 1]]`.
        """
        packed = b"".join(map(self.encode_sentences, _groups(texts)))
        row = np.frombuffer(packed, self.vocabulary.dtype)
        is_end = row == self.pad_token_id
        ends = np.flatnonzero(is_end) - np.arange(len(texts))  # the marks before are no tokens
        return row[~is_end].astype(np.int32), np.concatenate([[0], ends])

    def encode_sentences(self, sentences: Sequence[str]) -> bytes:
        """Ids of some sentences, with [PAD] (which no text can spell) at the end of each one.

        Returns:
            The ids in `vocabulary.dtype`, without other special tokens.
        """
        if len(self._words) > _REMEMBERED_WORDS:
            self._words.clear()
        if self.lowercase:  # "The" and "the" are one word to remember instead of two
            sentences = [text.lower() if text.isascii() else text for text in sentences]
        text = f" {_TEXT_END} ".join([*sentences, ""])
        if text.count(_TEXT_END) > len(sentences):
            sentences = [text.replace(_TEXT_END, "") for text in sentences]
            text = f" {_TEXT_END} ".join([*sentences, ""])
        text = _DROPPED.sub("", text)
        if self.tokenize_chinese_chars and not text.isascii():
            text = _CHINESE.sub(lambda run: f" {' '.join(run[0])} ", text)
        for mark in _COMMON_MARKS:  # so are "the" and "the,"
            text = text.replace(mark, f" {mark} ")
        return b"".join(map(self._words.__getitem__, text.split()))

    def to_keras_hub(self) -> keras_hub.models.BertTokenizer:
        """The KerasHub tokenizer nearest to this one, for presets.

        Its ids differ for rare characters: it folds ligatures and the like, keeps some control
        characters, and counts the limit of a word in bytes.

        Raises:
            InputError: If the installed tensorflow-text cannot be trusted.
        """
        import keras_hub

        check_tensorflow_text()
        return keras_hub.models.BertTokenizer(
            vocabulary=list(self.vocabulary.pieces),
            lowercase=self.lowercase,
            strip_accents=self.strip_accents,
            split_on_cjk=self.tokenize_chinese_chars,
        )

    @classmethod
    def from_keras_hub(
        cls, tokenizer: keras_hub.models.BertTokenizer, strip_accents: bool | None = None
    ) -> BertTokenizer:
        """The tokenizer of a KerasHub preset.

        Args:
            strip_accents: As above. What the preset says is not asked: KerasHub's presets, and its
                converter of Hugging Face models, keep accents where Google's uncased models were
                trained without, so that "clichés" would become [UNK].
        """
        return cls(
            Vocabulary(tokenizer.get_vocabulary()),
            tokenizer.lowercase,
            strip_accents,
            tokenizer.split_on_cjk,
        )


def check_tensorflow_text() -> None:
    """Refuses the version whose tokenizer, which KerasHub uses, reads memory that it has freed.

    Now and then it says that [UNK] is not in a vocabulary in which it is.

    Raises:
        InputError: If it is installed.
    """
    try:
        # Its own import would bring TensorFlow, which JAX does without.
        version = importlib.metadata.version("tensorflow-text")
    except importlib.metadata.PackageNotFoundError:
        return  # KerasHub then has a tokenizer in Python
    if version == "2.20.0":
        raise InputError(
            "tensorflow-text 2.20.0: its tokenizer has a memory error: "
            "pip install 'tensorflow-text>=2.20.1,<2.21'"
        )


def _groups(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in groups, so that memory is bounded by the size of one, or of the longest text."""
    begin = size = 0
    for number, text in enumerate(texts):
        if size > _GROUP:
            yield texts[begin:number]
            begin, size = number, 0
        size += len(text)
    yield texts[begin:]


class _Words(dict[str, bytes]):
    """Word -> bytes of its ids; a word looked up for the first time is tokenized."""

    def __init__(self, tokenizer: BertTokenizer) -> None:
        vocabulary = tokenizer.vocabulary
        self._tokenizer = make_hugging_face_tokenizer(
            vocabulary.ids,
            tokenizer.lowercase,
            tokenizer.strip_accents,
            tokenizer.tokenize_chinese_chars,
        )
        self._lowercase = tokenizer.lowercase
        self._dtype = vocabulary.dtype
        numbers = np.arange(len(vocabulary), dtype=vocabulary.dtype)
        self._ids = {
            piece: number.tobytes()
            for piece, number in zip(vocabulary.pieces, numbers, strict=True)
        }

    def __missing__(self, word: str) -> bytes:
        if word == _TEXT_END:
            return self._ids["[PAD]"]
        pieces = _ASCII_PIECES.findall(word) if word.isascii() and word.isprintable() else ()
        if len(pieces) > 1:
            # "a_word" and "$5" cost one look-up for each part.
            ids = b"".join([self[piece] for piece in pieces])
        elif pieces and len(word) <= LONGEST_WORD:
            ids = self._spell(word.lower() if self._lowercase else word)
        else:
            # Half of a surrogate pair is no character, and is dropped.
            text = word.encode("utf-8", "ignore").decode()
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
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


def make_hugging_face_tokenizer(
    ids: dict[str, int],
    lowercase: bool,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
) -> tokenizers.Tokenizer:
    """Hugging Face's BERT tokenizer without special tokens, so that text cannot spell one.

    `ids` has the word pieces and their ids; the other arguments are those of `BertTokenizer`.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(
        models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase,
        strip_accents=strip_accents,
        handle_chinese_chars=tokenize_chinese_chars,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer

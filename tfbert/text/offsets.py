"""Where each word piece stands in its text: the first character, and the one after the last.

The places are those of the text as it was written, whatever the tokenizer lower-cases, strips of
accents or drops.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfbert.text.tokenizer import BertTokenizer, make_hugging_face_tokenizer

_REMEMBERED_WORDS = 100_000  # about 60 MB a process
_LONGEST_REMEMBERED = 40  # characters
# The dropped ones are those at which Python's \s divides words and BERT does not.
_WORD = re.compile("(?:\\S|[\x0b\x0c\x1c-\x1f\x85])+")


class LocatedTokens(NamedTuple):
    """The word pieces of a text, and their places in it.

    Args:
        token_ids: (tokens,) int32, without special tokens; as `BertTokenizer.encode` gives them.
        starts, ends: (tokens,) int32, each token's first character, and the one after its last.
            Accents that were taken off a letter belong to it. Pieces of one character, as those of
            a Hangul syllable, have the same place.
    """

    token_ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def locate_tokens(tokenizer: BertTokenizer, texts: Sequence[str]) -> Iterator[LocatedTokens]:
    """The tokens of each text with their places, in the order of the texts."""
    words = _words_of(tokenizer)
    for text in texts:
        if len(words) > _REMEMBERED_WORDS:
            words.clear()
        ids: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        for match in _WORD.finditer(text):
            begin = match.start()
            for token, start, end in words[match[0]]:
                ids.append(token)
                starts.append(begin + start)
                ends.append(begin + end)
        yield LocatedTokens(*(np.array(column, np.int32) for column in (ids, starts, ends)))


class _Words(dict[str, list[tuple[int, int, int]]]):
    """Word -> (id, start, end) of its pieces; one looked up for the first time is tokenized.

    BERT never looks across white space, so the tokens of a text are those of its words.
    """

    def __init__(self, tokenizer: BertTokenizer) -> None:
        self._tokenizer = make_hugging_face_tokenizer(
            tokenizer.vocabulary.ids,
            tokenizer.lowercase,
            tokenizer.strip_accents,
            tokenizer.tokenize_chinese_chars,
        )

    def __missing__(self, word: str) -> list[tuple[int, int, int]]:
        # Half of a surrogate pair is no character, and is dropped.
        places = [i for i, character in enumerate(word) if not "\ud800" <= character <= "\udfff"]
        text = word if len(places) == len(word) else "".join(word[place] for place in places)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        begins = {places[start] for start, _ in encoding.offsets}
        pieces = [
            (token, places[start], _end(word, places[end - 1] + 1, begins))
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        ]
        if len(word) <= _LONGEST_REMEMBERED:
            self[word] = pieces
        return pieces


def _end(word: str, end: int, begins: Container[int]) -> int:
    """The end of a piece with the combining marks after it, which may have been taken off.

    Not with one at which a piece begins: Python knows more of them than the tokenizer does.
    """
    while end < len(word) and end not in begins and unicodedata.category(word[end]) == "Mn":
        end += 1
    return end


@functools.lru_cache(maxsize=2)
def _words_of(tokenizer: BertTokenizer) -> _Words:
    return _Words(tokenizer)

"""BERT's treatment of single characters as one table, for programs that cannot call a tokenizer.

Cleaning, lower-casing, accents, Chinese characters and punctuation: what each of them does to a
character does not depend on its neighbours. (Unicode's canonical order of combining characters
does, for a few musical and tone marks, which no BERT vocabulary holds.) So a text is treated by
looking up each of its characters; afterwards its words stand between spaces.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from tfbert.text.tokenizer import BertTokenizer, make_hugging_face_tokenizer

if TYPE_CHECKING:
    import tokenizers

PAGE = 256
ITSELF = -1
_CODE_POINTS = 0x110000
_SPACE = ord(" ")
_SURROGATES = range(0xD800, 0xE000)  # halves of characters: never decoded from UTF-8


def character_pages(tokenizer: BertTokenizer) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of every character of Unicode, in two tables.

    Returns:
        (pages, `PAGE`, width) int32: the characters that a character becomes, 0 where there are
        fewer, `ITSELF` for the character; and (4352,) int32: which page a character with code
        point c is on, at `c // PAGE`. Its row on the page is `c % PAGE`.
    """
    return _character_pages(
        tokenizer.lowercase, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars
    )


@functools.lru_cache(maxsize=4)
def _character_pages(lowercase, strip_accents, tokenize_chinese_chars):
    # Asked of the tokenizer itself, so that its version of Unicode counts.
    rules = make_hugging_face_tokenizer(
        {"[UNK]": 0}, lowercase, strip_accents, tokenize_chinese_chars
    )
    unchanged = ((ITSELF,),) * PAGE
    pages = {unchanged: 0}
    numbers = []
    for first in range(0, _CODE_POINTS, PAGE):
        rows = unchanged if first in _SURROGATES else _page(first, rules)
        numbers.append(pages.setdefault(rows, len(pages)))
    width = max(len(row) for rows in pages for row in rows)
    table = np.zeros((len(pages), PAGE, width), np.int32)
    for number, rows in enumerate(pages):
        for place, row in enumerate(rows):
            table[number, place, : len(row)] = row
    return table, np.array(numbers, np.int32)


def _page(first: int, rules: tokenizers.Tokenizer) -> tuple[tuple[int, ...], ...]:
    """By character of a page, what it becomes."""
    characters = [chr(first + place) for place in range(PAGE)]
    text = "".join(characters)
    if rules.normalizer.normalize_str(text) == text == "".join(_words(text, rules)[:1]):
        return ((ITSELF,),) * PAGE
    return tuple(_becomes(character, rules) for character in characters)


def _becomes(character: str, rules: tokenizers.Tokenizer) -> tuple[int, ...]:
    codes: list[int] = []
    for part in rules.normalizer.normalize_str(character):
        between = _words(f"a{part}a", rules)
        if len(between) == 1:
            codes.append(ord(part))
        elif len(between) == 2:
            codes.append(_SPACE)
        else:  # a punctuation mark is a word
            codes += [_SPACE, ord(part), _SPACE]
    return tuple(ITSELF if code == ord(character) != _SPACE else code for code in codes)


def _words(text: str, rules: tokenizers.Tokenizer) -> list[str]:
    return [word for word, _ in rules.pre_tokenizer.pre_tokenize_str(text)]

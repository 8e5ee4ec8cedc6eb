"""The rules of `tokenization.py` in google-research/bert, in plain Python: a slow reference."""

import unicodedata

CHINESE = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
LONGEST_WORD = 100  # 200 in Google's file; Hugging Face's limit


def google_ids(text, ids, lowercase=True, strip_accents=None, tokenize_chinese_chars=True):
    """The ids of a text; `ids` has those of the word pieces."""
    words = basic_words(text, lowercase, strip_accents, tokenize_chinese_chars)
    return [number for word in words for number in _pieces(word, ids)]


def basic_words(text, lowercase, strip_accents=None, tokenize_chinese_chars=True):
    """The words of a text, each punctuation mark for itself."""
    strip_accents = lowercase if strip_accents is None else strip_accents
    text = "".join(" " if _is_space(character) else character for character in _cleaned(text))
    if tokenize_chinese_chars:
        text = "".join(f" {it} " if _is_chinese(it) else it for it in text)
    words = []
    for word in text.split():
        if lowercase:
            word = word.lower()
        if strip_accents:
            parts = unicodedata.normalize("NFD", word)
            word = "".join(part for part in parts if unicodedata.category(part) != "Mn")
        words += "".join(f" {it} " if _is_punctuation(it) else it for it in word).split()
    return words


def is_in_doubt(text):
    """Whether Google's rules read the text in more than one way, or newer tables matter.

    Python's lower case of a capital sigma depends on its place in the word, Hugging Face's does
    not. Private characters are dropped by the one and kept by the other. The category of a newer
    character depends on the version of Unicode's tables. One block of Hugging Face's table of
    Chinese characters begins 256 later.
    """
    return any(
        character == "Σ"
        or unicodedata.category(character) in ("Co", "Cn", "Cs")
        or unicodedata.ucd_3_2_0.category(character) == "Cn"
        or unicodedata.ucd_3_2_0.category(character) != unicodedata.category(character)
        or 0x2B820 <= ord(character) < 0x2B920
        for character in text
    )


def _cleaned(text):
    for character in text:
        is_control = unicodedata.category(character) in ("Cc", "Cf")
        if character not in "\0\ufffd" and (character in "\t\n\r" or not is_control):
            yield character


def _is_space(character):
    return character in " \t\n\r" or unicodedata.category(character) == "Zs"


def _is_chinese(character):
    return any(first <= ord(character) <= last for first, last in CHINESE)


def _is_punctuation(character):
    is_ascii_symbol = character.isascii() and character.isprintable() and not character.isalnum()
    return (is_ascii_symbol and character != " ") or unicodedata.category(character)[0] == "P"


def _pieces(word, ids):
    found, start = [], 0
    while start < len(word):
        if len(word) > LONGEST_WORD:
            return [ids["[UNK]"]]
        end = len(word)
        while end > start and ("##" if start else "") + word[start:end] not in ids:
            end -= 1
        if end == start:
            return [ids["[UNK]"]]
        found.append(ids[("##" if start else "") + word[start:end]])
        start = end
    return found

"""Random Unicode passages whose pieces, and so their answers, are known by how they were made."""

import random
from typing import NamedTuple

# Kinds of pieces that a tokenizer never joins with what stands beside them.
_ALONE = ["日", "本", "我", "\U00020000", *",.!?;:'\"-()[]{}$%_", "’", "“", "—", "¿", "。", "।"]
_LETTERS = [
    *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" * 2,
    *"éÉüÅßẞñİıΣσςжЖйЙאبहにカ가한국ภ²½ⅧﬁＦ★☃👍👩",
    *(
        "e\u0301",
        "A\u030a",
        "u\u0308\u0304",
        "и\u0306",
        "ש\u05b8\u05c1",
        "م\u064e",
        "हि",
        "❤\ufe0f",
    ),
    *("हि", "❤\ufe0f", "ก\u0e31\u0e49", "ำ", "a\u0345", "o\u0323\u0302"),
]
_SPACES = [
    *" \t\n\r\u00a0\u1680\u202f\u205f\u3000\u2028\u2029",
    *(chr(number) for number in range(0x2000, 0x200B)),
    *("\r\n", "  ", "\n\n\t"),
]
# What BERT drops, some of which Python takes for white space; and halves of surrogate pairs.
_DROPPED = [
    *"\0\ufffd\u200b\u00ad\ufeff\u200d\u202a\x07\x0b\x0c\x1c\x1d\x1e\x1f\x7f\x85\ud83d\udc4d"
]


class MadePassage(NamedTuple):
    """A passage, and from where to where each of its pieces goes."""

    text: str
    starts: list[int]
    ends: list[int]

    def answer(self, rng: random.Random, longest: int = 3) -> tuple[str, int]:
        """Some of its pieces after one another, with what stands between them, and their place."""
        first = rng.randrange(len(self.starts))
        last = min(len(self.ends) - 1, first + rng.randrange(longest))
        return self.text[self.starts[first] : self.ends[last]], self.starts[first]


def make_passage(rng: random.Random, pieces: int) -> MadePassage:
    """A passage of so many words, marks and Chinese characters."""
    text, starts, ends = _gap(rng, True), [], []
    was_word = False
    for _ in range(pieces):
        is_word = rng.random() < 0.7
        text += _gap(rng, is_word and was_word)
        starts.append(len(text))
        text += _word(rng) if is_word else rng.choice(_ALONE)
        ends.append(len(text))
        was_word = is_word
    return MadePassage(text + _gap(rng, True), starts, ends)


def _word(rng: random.Random) -> str:
    letters = [rng.choice(_LETTERS) for _ in range(rng.randrange(1, 6))]
    if rng.random() < 0.02:
        letters *= 101  # longer than the longest word that is spelled
    if rng.random() < 0.2 and len(letters) > 1:
        letters.insert(rng.randrange(1, len(letters)), rng.choice(_DROPPED))
    return "".join(letters)


def _gap(rng: random.Random, needs_space: bool) -> str:
    """White space with what is dropped beside it, or nothing."""
    if not needs_space and rng.random() < 0.5:
        return ""
    before, after = (rng.choice(_DROPPED) if rng.random() < 0.1 else "" for _ in range(2))
    return before + rng.choice(_SPACES) + after

"""A small vocabulary that spells every ASCII text, and the way to the real data."""

import os
import string
from pathlib import Path

import pytest

from tfbert.data.wordpieces import SPECIAL_TOKENS, Vocabulary

WORDS = ("the", "movie", "was", "good", "bad", "it", "##ing", "watch", "and")


@pytest.fixture(scope="session")
def vocabulary():
    """Letters and digits, each also as a continuation, punctuation, and some words."""
    characters = string.ascii_lowercase + string.digits
    pieces = [
        *SPECIAL_TOKENS,
        "[unused0]",
        *characters,
        *("##" + character for character in characters),
        *string.punctuation,
        *WORDS,
    ]
    return Vocabulary(pieces)


@pytest.fixture(scope="session")
def vocabulary_file(vocabulary, tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("".join(piece + "\n" for piece in vocabulary.pieces))
    return path


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data, for tests that need more than made-up text."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    for path in (os.environ.get("TFBERT_TEST_DATA"), beside):
        if path and Path(path).is_dir():
            return Path(path)
    pytest.skip(f"needs real data: set TFBERT_TEST_DATA, or put it into {beside}")

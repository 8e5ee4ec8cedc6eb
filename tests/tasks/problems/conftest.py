"""A tokenizer of single letters, shared."""

import pytest

from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary


@pytest.fixture(scope="package")
def small_tokenizer():
    letters = "abcdetx"
    pieces = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters), ",", "."]
    return BertTokenizer(Vocabulary(pieces))

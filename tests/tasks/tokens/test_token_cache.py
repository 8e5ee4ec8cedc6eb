import numpy as np
import pytest

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.tasks.tokens import token_cache
from tfbert.tasks.tokens.token_cache import tokenize_once
from tfbert.tasks.tokens.tokenization import tokenize
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary, read_vocabulary

TEXTS = ["One two three four.", "", "Café", "one"]
VOCABULARY = MODEL_DIRECTORY / "assets" / "tokenizer" / "vocabulary.txt"


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer(read_vocabulary(VOCABULARY))


@pytest.fixture
def calls(monkeypatch):
    """A list that gets an entry whenever texts are tokenized; nothing is in memory yet."""
    calls = []

    def counted(tokenizer, texts, max_length, pairs):
        calls.append(texts)
        return tokenize(tokenizer, texts, max_length, pairs)

    monkeypatch.setattr(token_cache, "tokenize", counted)
    token_cache._memory.clear()
    return calls


def assert_same(one, other):
    for field in ("values", "starts", "second_starts"):
        first, second = getattr(one, field), getattr(other, field)
        np.testing.assert_array_equal(first, second)
        assert first.dtype == second.dtype
    for field in ("pad_token_id", "truncated_texts", "dropped_tokens"):
        assert getattr(one, field) == getattr(other, field)


def test_the_same_texts_are_tokenized_once(tokenizer, calls, place):
    expected = tokenize(tokenizer, TEXTS, 5)
    for cache in ("memory", str(place / "new" / "folder")):
        calls.clear()
        for _ in range(2):
            assert_same(tokenize_once(tokenizer, TEXTS, 5, cache), expected)
        # Another object of the same vocabulary and options, as the next process has.
        same = BertTokenizer(read_vocabulary(VOCABULARY))
        assert_same(tokenize_once(same, TEXTS, 5, cache), expected)
        assert len(calls) == 1
    for _ in range(2):
        assert_same(tokenize_once(tokenizer, TEXTS, 5, "none"), expected)
    assert len(calls) == 3


def test_whatever_changes_the_tokens_changes_the_entry(tokenizer, calls, tmp_path):
    pieces = tokenizer.vocabulary.pieces
    swapped = Vocabulary([*pieces[:-2], *pieces[:-3:-1]])
    cased = BertTokenizer(tokenizer.vocabulary, lowercase=False)
    accented = BertTokenizer(tokenizer.vocabulary, strip_accents=False)
    undivided = BertTokenizer(tokenizer.vocabulary, tokenize_chinese_chars=False)
    cases = [
        (tokenizer, TEXTS, 5),
        (tokenizer, TEXTS, 6),
        (tokenizer, TEXTS[::-1], 5),
        (tokenizer, [*TEXTS[:2], "Caf", "éone"], 5),  # the same characters, cut elsewhere
        (tokenizer, [*TEXTS, ""], 5),
        (cased, TEXTS, 5),
        (accented, TEXTS, 5),
        (undivided, TEXTS, 5),
        (BertTokenizer(swapped), TEXTS, 5),
    ]
    for case in cases:
        assert_same(tokenize_once(*case, str(tmp_path)), tokenize(*case))
    assert len(calls) == len(list(tmp_path.iterdir())) == len(cases)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_entry_is_made_again(tokenizer, calls, tmp_path, caplog, damage):
    expected = tokenize_once(tokenizer, TEXTS, 5, str(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes({"cut": whole[:-7], "empty": b"", "flipped": bytes(flipped)}[damage])
    assert_same(tokenize_once(tokenizer, TEXTS, 5, str(tmp_path)), expected)
    assert "damaged, so tokenizing again" in caplog.text
    assert path.read_bytes() == whole
    assert len(calls) == 2


def test_a_folder_that_cannot_be_written_is_a_warning(tokenizer, calls, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    expected = tokenize(tokenizer, TEXTS, 5)
    assert_same(tokenize_once(tokenizer, TEXTS, 5, str(tmp_path / "file")), expected)
    assert "the tokens cannot be kept" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_memory_keeps_the_last_few(tokenizer, calls):
    for number in (0, 1, 2, 3, 0, 4, 0, 1):
        tokenize_once(tokenizer, [str(number)], 5, "memory")
    assert [texts for (texts,) in calls] == ["0", "1", "2", "3", "4", "1"]

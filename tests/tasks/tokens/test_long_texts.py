"""Long texts: what is kept of them, in which rows, and the mean of the rows' logits."""

import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.tokens.long_texts import encode_texts, mean_by_example, with_targets
from tfbert.text.tokenizer import BertTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tokenizer(vocabulary):
    return BertTokenizer(vocabulary)


def spelled(tokenizer, row):
    """The row's words as one string; [CLS] is <, [SEP] is >."""
    pieces = [tokenizer.vocabulary.pieces[number] for number in row]
    return "".join({"[CLS]": "<", "[SEP]": ">"}.get(piece, piece) for piece in pieces)


def rows(tokenizer, texts, *options):
    examples = Examples([" ".join(text) for text in texts], None)
    encoded = encode_texts(tokenizer, examples, *options)
    found = [spelled(tokenizer, encoded.texts[number]) for number in range(len(encoded.texts))]
    assert encoded.texts.second_starts.tolist() == encoded.texts.lengths.tolist()
    return found, encoded


def test_cut(tokenizer):
    found, encoded = rows(tokenizer, [LETTERS, "abc"], 10, "none", "cut")
    assert found == ["<abcdefgh>", "<abc>"]
    assert encoded.example_of is None
    assert encoded.cut.startswith("1 of 2 texts are longer than 10 tokens and were cut, 18 tokens")


def test_head_and_tail(tokenizer):
    found, encoded = rows(tokenizer, [LETTERS, "abc", LETTERS[:8]], 10, "none", "head-tail")
    assert found == ["<abcdwxyz>", "<abc>", "<abcdefgh>"]
    assert encoded.texts.truncated_texts == 1 and encoded.texts.dropped_tokens == 18
    assert "first 4 and last 4, 18 tokens (41.9 %) dropped" in encoded.cut


def test_head_and_tail_have_the_lengths_of_the_paper(tokenizer):
    text = "a " * 128 + "b " * 500 + "c " * 382
    encoded = encode_texts(tokenizer, Examples([text], None), 512, "none", "head-tail")
    assert spelled(tokenizer, encoded.texts[0]) == f"<{'a' * 128}{'c' * 382}>"


def test_windows(tokenizer):
    found, encoded = rows(tokenizer, ["abcdefghijk", "", "abcdefgh"], 10, "none", "windows", 3)
    assert found == ["<abcdefgh>", "<defghijk>", "<>", "<abcdefgh>"]
    assert encoded.example_of.tolist() == [0, 0, 1, 2]
    assert "parts: 4 rows in all, 0 tokens" in encoded.cut


@pytest.mark.parametrize("doc_stride", [1, 7, 8, 100])
def test_windows_hold_every_token(tokenizer, doc_stride):
    found, _ = rows(tokenizer, [LETTERS], 10, "none", "windows", doc_stride)
    assert set("".join(found)) == {*LETTERS, "<", ">"}
    assert all(len(row) <= 10 for row in found)


@pytest.mark.parametrize("long_texts", ["cut", "head-tail", "windows"])
def test_short_texts_are_read_alike(tokenizer, long_texts):
    found, encoded = rows(tokenizer, ["abc", ""], 10, "none", long_texts)
    assert found == ["<abc>", "<>"]
    assert encoded.cut is None and encoded.example_of is None


def test_the_cache_gives_the_same(tokenizer, tmp_path):
    for long_texts in ("head-tail", "windows"):
        expected, _ = rows(tokenizer, [LETTERS, "abc"], 10, "none", long_texts, 3)
        for _ in range(2):
            assert (
                rows(tokenizer, [LETTERS, "abc"], 10, str(tmp_path), long_texts, 3)[0] == expected
            )


def test_targets_of_windows_are_those_of_their_text(tokenizer):
    _, encoded = rows(tokenizer, [LETTERS, "abc", LETTERS], 10, "none", "windows", 8)
    values = np.array([2, 0, 1], np.int32)
    weights = np.array([0.5, 1, 2], np.float32)
    targets = with_targets(encoded, values, weights).targets
    assert targets.values.tolist() == [2, 2, 2, 2, 0, 1, 1, 1, 1]
    assert targets.weights.tolist() == [0.5] * 4 + [1] + [2] * 4
    assert with_targets(encoded, values).targets.weights.tolist() == [1] * 9


def test_the_mean_of_the_logits(tokenizer):
    _, encoded = rows(tokenizer, ["abc", LETTERS, "", LETTERS], 10, "none", "windows", 3)
    logits = np.random.default_rng(0).normal(size=(len(encoded.texts), 3)).astype(np.float32)
    expected = [logits[encoded.example_of == example].astype(float).mean(0) for example in range(4)]
    found = mean_by_example(logits, encoded)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("long_texts", ["head-tail", "windows"])
def test_pairs_are_only_cut(tokenizer, long_texts):
    with pytest.raises(InputError, match=f"--long-texts {long_texts}: only single texts"):
        encode_texts(tokenizer, Examples(["a"], None, ["b"]), 10, "none", long_texts)

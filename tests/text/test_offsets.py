"""Places of tokens: against how passages were made, and against Hugging Face's offsets."""

import random
import unicodedata

import numpy as np
import pytest
from helpers.passages import make_passage
from tokenizers import BertWordPieceTokenizer

from tfbert.text import offsets
from tfbert.text.offsets import locate_tokens
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary

# (lowercase, strip_accents, tokenize_chinese_chars)
VARIANTS = ((True, None, True), (False, None, True), (True, False, True), (False, True, True))


@pytest.fixture(scope="module")
def letters():
    """A vocabulary of every character of the plane, as a word and as a continuation."""
    numbers = [*range(0x21, 0xD800), *range(0xF900, 0xFFF0), *range(0x1F300, 0x1F650), 0x20000]
    characters = [chr(number) for number in numbers if not chr(number).isspace()]
    return Vocabulary([*SPECIAL_TOKENS, *characters, *("##" + it for it in characters)])


@pytest.mark.parametrize("variant", VARIANTS)
def test_as_hugging_face_does_but_accents_stay_with_their_letter(letters, variant):
    """Also: the ids are those of `encode`, and places rise."""
    rng = random.Random(0)
    tokenizer = BertTokenizer(letters, *variant)
    reference = BertWordPieceTokenizer(
        dict(letters.ids),
        lowercase=variant[0],
        strip_accents=variant[1],
        handle_chinese_chars=variant[2],
    )
    texts = [make_passage(rng, rng.randrange(1, 30)).text for _ in range(300)] + ["", " \u200b\n"]
    for text, found, ids in zip(
        texts, locate_tokens(tokenizer, texts), tokenizer.encode(texts), strict=True
    ):
        assert found.token_ids.tolist() == ids.tolist()
        assert (found.starts < found.ends).all()
        assert (np.diff(found.starts) >= 0).all() and (np.diff(found.ends) >= 0).all()
        if any("\ud800" <= character <= "\udfff" for character in text):
            continue
        expected = reference.encode(text, add_special_tokens=False).offsets
        assert found.starts.tolist() == [start for start, _ in expected]
        for end, (_, without_accents) in zip(found.ends, expected, strict=True):
            more = text[without_accents:end]
            assert all(unicodedata.category(character) == "Mn" for character in more)


def test_by_hand(letters):
    tokenizer = BertTokenizer(letters)
    text = " a\ud83db\x1cC, \u200be\u0301! "
    (found,) = locate_tokens(tokenizer, [text])
    spelled = [letters.pieces[number] for number in found.token_ids]
    places = [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]
    assert spelled == ["a", "##b", "##c", ",", "e", "!"]
    assert places == ["a", "b", "C", ",", "e\u0301", "!"]


def test_natural_text(real_data):
    """The pieces of natural English are the text's own letters."""
    import json

    from tfbert.text.vocabulary import read_vocabulary

    vocabulary = read_vocabulary(real_data / "bert-base-uncased-vocab.txt")
    tokenizer = BertTokenizer(vocabulary)
    articles = json.loads((real_data / "squad" / "dev.json").read_bytes())["data"]
    texts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    for text, found in zip(texts, locate_tokens(tokenizer, texts), strict=True):
        for number, start, end in zip(*found, strict=True):
            piece = vocabulary.pieces[number].removeprefix("##")
            plain = unicodedata.normalize("NFD", text[start:end].lower())
            assert piece in (plain, "[UNK]") or piece == "".join(
                it for it in plain if unicodedata.category(it) != "Mn"
            )


def test_forgetting_words_changes_nothing(letters, monkeypatch):
    monkeypatch.setattr(offsets, "_REMEMBERED_WORDS", 2)
    tokenizer = BertTokenizer(letters)
    texts = ["one two three", "two four, five", "one two three"]
    first, _, third = locate_tokens(tokenizer, texts)
    assert first.starts.tolist() == third.starts.tolist()
    assert first.token_ids.tolist() == tokenizer.encode(texts[:1])[0].tolist()

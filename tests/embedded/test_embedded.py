import re
from collections import Counter

import pytest

from tfbert.data.tasks import Source
from tfbert.embedded import MODEL_DIRECTORY, SENTIMENT_DIRECTORY


@pytest.fixture(scope="module")
def splits():
    return Source("embedded").splits()


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def test_enough_distinct_sentences_of_both_kinds(splits):
    train, test = splits
    assert len(train.texts) + len(test.texts) >= 1200
    assert len({" ".join(words(text)) for text in train.texts + test.texts}) == 1600
    assert Counter(test.labels) == {"positive": 200, "negative": 200}
    assert Counter(train.labels) == {"positive": 600, "negative": 600}


def test_sentences_have_3_to_40_words(splits):
    lengths = [len(words(text)) for examples in splits for text in examples.texts]
    assert 3 <= min(lengths) <= max(lengths) <= 40


def test_no_five_words_of_a_test_sentence_stand_in_training(splits):
    def five_grams(text):
        found = words(text)
        return {tuple(found[i : i + 5]) for i in range(len(found) - 4)}

    train, test = (set().union(*map(five_grams, examples.texts)) for examples in splits)
    assert len(test) > 1000
    assert not train & test


def test_it_is_in_the_public_domain():
    assert "CC0 1.0 Universal" in (SENTIMENT_DIRECTORY / "LICENSE").read_text()


def test_the_model_is_small_and_says_that_it_knows_nothing():
    size = sum(path.stat().st_size for path in MODEL_DIRECTORY.rglob("*") if path.is_file())
    assert size < 10_000_000
    assert "RANDOM weights" in (MODEL_DIRECTORY / "README.md").read_text()

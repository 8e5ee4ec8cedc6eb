import re
from collections import Counter

import numpy as np
import pytest

from tfbert.embedded import MODEL_DIRECTORY, SENTIMENT_DIRECTORY
from tfbert.models.pretrainer import load_pretrainer
from tfbert.tasks.labelled_data import LabelledData


@pytest.fixture(scope="module")
def splits():
    return LabelledData("embedded").splits()


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


def test_the_model_is_small():
    size = sum(path.stat().st_size for path in MODEL_DIRECTORY.rglob("*") if path.is_file())
    assert size < 10_000_000


def test_it_is_said_what_it_was_made_of():
    assert "all-MiniLM-L6-v2" in (MODEL_DIRECTORY / "README.md").read_text()
    assert "Apache License" in (MODEL_DIRECTORY / "LICENSE").read_text()


def test_the_model_has_learned_from_context(splits):
    """It finds the hidden piece of a sentence likelier there than in the next sentence's gap."""
    model, tokenizer = load_pretrainer("embedded")
    sentences = [ids[:62] for ids in tokenizer.encode(splits[1].texts)]
    random = np.random.default_rng(0)
    places = [random.integers(len(ids)) for ids in sentences]
    hidden = np.array([ids[place] for ids, place in zip(sentences, places, strict=True)])
    token_ids = np.full((len(hidden), 64), tokenizer.pad_token_id, np.int32)
    for row, ids, place in zip(token_ids, sentences, places, strict=True):
        row[: len(ids) + 2] = [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]
        row[place + 1] = tokenizer.mask_token_id
    inputs = {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": (token_ids != tokenizer.pad_token_id).astype(np.int32),
        "mask_positions": np.array(places, np.int32)[:, None] + 1,
    }
    logits = model.predict(inputs, verbose=0)["mlm"][:, 0]
    scores = np.float64(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    rows = np.arange(len(hidden))
    gain = scores[rows, hidden] - scores[rows - 1, hidden]
    # Half the width of the 95 % interval of a mean over 400 sentences.
    assert gain.mean() > 1.96 * gain.std() / len(gain) ** 0.5

import functools
import itertools
import json
import re
import string

import numpy as np
import pytest
from helpers.text_fixtures import ids_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from tfbert.text import tokenizer as tokenizer_module
from tfbert.text.corpus import read_documents
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary, read_vocabulary


@functools.cache
def ours(vocabulary, lowercase=True):
    return BertTokenizer(vocabulary, lowercase)


@functools.cache
def hugging_face(vocabulary, lowercase=True):
    """The ready-made tokenizer of the library, told of no special token but [UNK]."""
    return BertWordPieceTokenizer(dict(vocabulary.ids), lowercase=lowercase)


@pytest.fixture(scope="module")
def bert_vocabulary(real_data):
    return read_vocabulary(real_data / "bert-base-uncased-vocab.txt")


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=string.printable[:95] + "\n\t", max_size=60), st.booleans())
def test_printable_ascii_equals_hugging_face(vocabulary, text, lowercase):
    text = re.sub(r"\[(PAD|UNK|CLS|SEP|MASK)\]", "", text)
    expected = hugging_face(vocabulary, lowercase).encode(text, add_special_tokens=False).ids
    assert ids_of(ours(vocabulary, lowercase), text) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aé\u0301ﬁß²日 ’—Σ\u3000\u200b\ufffd", max_size=30))
def test_other_text_equals_hugging_face(vocabulary, text):
    expected = hugging_face(vocabulary).encode(text, add_special_tokens=False).ids
    assert ids_of(ours(vocabulary), text) == expected


def test_literal_special_tokens_are_ordinary_text(vocabulary):
    ids = ids_of(ours(vocabulary), "[MASK] [SEP]")
    assert [vocabulary.pieces[i] for i in ids[:3]] == ["[", "m", "##a"]
    assert not vocabulary.is_special()[ids].any()


def test_forgetting_words_changes_nothing(vocabulary, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "_REMEMBERED_WORDS", 2)
    tokenizer = BertTokenizer(vocabulary)
    texts = ["the movie was good", "watching it, and bad", "the movie was good"]
    expected = [ids_of(BertTokenizer(vocabulary), text) for text in texts]
    assert [ids_of(tokenizer, text) for text in texts] == expected


def test_large_vocabularies_take_four_bytes_an_id():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *map(str, range(70_000))])
    assert vocabulary.dtype == np.dtype("<i4")
    assert vocabulary.pieces[ids_of(BertTokenizer(vocabulary), "69999 [UNK]")[0]] == "69999"


@pytest.fixture(scope="module", params=[5_000, pytest.param(20_000, marks=pytest.mark.slow)])
def natural_lines(request, real_data):
    """So many lines, evenly from reviews, novels, sentences, news and encyclopedias."""
    share = request.param // 8
    glue = real_data / "glue"
    files = (
        [real_data / "imdb" / "unsup.txt.gz"],
        sorted((real_data / "novels").glob("*.txt")),
        [glue / "SST-2" / "train.tsv"],
        [glue / "CoLA" / "train.tsv"],
        [glue / "MRPC" / "msr_paraphrase_train.txt"],
        [glue / "STS-B" / "train.tsv"],
        [real_data / "wikitext2" / name for name in ("valid.txt", "test.txt")],
        [real_data / "squad" / "train.json"],
    )
    lines = []
    for paths in files:
        if paths[0].suffix == ".json":
            articles = json.loads(paths[0].read_bytes())["data"]
            paragraphs = [item for article in articles for item in article["paragraphs"]]
            found = [item["context"] for item in paragraphs]
            found += [question["question"] for item in paragraphs for question in item["qas"]]
        else:
            parts = read_documents(map(str, paths), "line")
            found = [part.text for part in itertools.islice(parts, 100_000)]
        lines += found[:: len(found) // share][:share]
    assert len(lines) == request.param
    return lines


def test_natural_lines_equal_hugging_face(natural_lines, bert_vocabulary):
    expected = hugging_face(bert_vocabulary).encode_batch(natural_lines, add_special_tokens=False)
    for line, encoding in zip(natural_lines, expected, strict=True):
        assert ids_of(ours(bert_vocabulary), line) == encoding.ids

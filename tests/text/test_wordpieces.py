import itertools
import json
import re
import string
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from tfbert.errors import InputError
from tfbert.text import wordpieces
from tfbert.text.corpus import read_documents
from tfbert.text.tokenizer import make_tokenizer
from tfbert.text.wordpieces import Vocabulary, WordPieceTokenizer, read_vocabulary


def decode(vocabulary, encoded):
    return [vocabulary.pieces[i] for i in np.frombuffer(encoded, vocabulary.dtype)]


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
    encoded = WordPieceTokenizer(vocabulary, lowercase).encode(text)
    assert list(np.frombuffer(encoded, vocabulary.dtype)) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aé\u0301ﬁß²日 ’—Σ\u3000\u200b\ufffd\x85\x0c\x1d\x00", max_size=30))
def test_other_text_equals_hugging_face(vocabulary, text):
    expected = hugging_face(vocabulary).encode(text, add_special_tokens=False).ids
    encoded = WordPieceTokenizer(vocabulary).encode(text)
    assert list(np.frombuffer(encoded, vocabulary.dtype)) == expected


def test_literal_special_tokens_are_ordinary_text(vocabulary):
    encoded = WordPieceTokenizer(vocabulary).encode("[MASK] [SEP]")
    assert decode(vocabulary, encoded)[:3] == ["[", "m", "##a"]
    assert not vocabulary.is_special()[np.frombuffer(encoded, vocabulary.dtype)].any()


def test_forgetting_words_changes_nothing(vocabulary, monkeypatch):
    monkeypatch.setattr(wordpieces, "_REMEMBERED_WORDS", 2)
    tokenizer = WordPieceTokenizer(vocabulary)
    texts = ["the movie was good", "watching it, and bad", "the movie was good"]
    expected = [WordPieceTokenizer(vocabulary).encode(text) for text in texts]
    assert [tokenizer.encode(text) for text in texts] == expected


def test_large_vocabularies_take_four_bytes_an_id():
    vocabulary = Vocabulary([*wordpieces.SPECIAL_TOKENS, *map(str, range(70_000))])
    encoded = WordPieceTokenizer(vocabulary).encode("69999 [UNK]")
    assert vocabulary.dtype == np.dtype("<i4")
    assert decode(vocabulary, encoded)[0] == "69999"


@pytest.fixture(scope="module")
def natural_lines(real_data):
    """20,000 lines, evenly from reviews, novels, sentences, news and encyclopedias."""
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
        lines += found[:: len(found) // 2500][:2500]
    assert len(lines) == 20_000
    return lines


def difference_class(line):
    """Where tensorflow-text, which folds characters (NFKC), and Hugging Face part ways."""
    if any(len(word.encode()) > 100 for word in line.split()):
        return "very long word"
    for character in line:
        folded = unicodedata.normalize("NFKC", character.casefold())
        if folded != unicodedata.normalize("NFC", character).lower():
            return "ligature, superscript or another character that stands for others (ß for ss)"
        if unicodedata.category(character) in ("Cf", "Cc") and character not in "\r\n\t":
            return "control character"
    return None


def test_natural_lines_equal_hugging_face(natural_lines, bert_vocabulary):
    tokenizer = WordPieceTokenizer(bert_vocabulary)
    expected = hugging_face(bert_vocabulary).encode_batch(natural_lines, add_special_tokens=False)
    for line, encoding in zip(natural_lines, expected, strict=True):
        ids = np.frombuffer(tokenizer.encode(line), bert_vocabulary.dtype)
        assert ids.tolist() == encoding.ids


def test_natural_lines_agree_with_the_models_tokenizer(natural_lines, bert_vocabulary):
    """What `prepare` writes is what KerasHub's tokenizer, accents stripped, makes of the text."""
    import tensorflow as tf

    tokenizer = WordPieceTokenizer(bert_vocabulary)
    model_tokenizer = make_tokenizer(list(bert_vocabulary.pieces), lowercase=True)
    theirs = tf.function(model_tokenizer)(tf.constant(natural_lines)).to_list()
    different = [
        line
        for line, ids in zip(natural_lines, theirs, strict=True)
        if np.frombuffer(tokenizer.encode(line), bert_vocabulary.dtype).tolist() != ids
    ]
    # A third of them is one encyclopedia article with non-breaking hyphens ("M‑28").
    assert len(different) <= 0.0025 * len(natural_lines)
    assert [line for line in different if difference_class(line) is None] == []


def test_vocabulary_kinds(vocabulary):
    special = {vocabulary.pieces[i] for i in np.flatnonzero(vocabulary.is_special())}
    assert special == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]"}
    continuing = vocabulary.is_continuation()
    assert continuing[vocabulary.ids["##s"]] and not continuing[vocabulary.ids["#"]]


def test_vocabulary_file_with_crlf_and_blank_end(vocabulary, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join(vocabulary.pieces).encode() + b"\r\n\r\n")
    assert read_vocabulary(path).pieces == vocabulary.pieces


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[PAD]\n[UNK]\n", r"has no \[CLS\]"),
        ("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\na\n", "'a' stands in it twice"),
    ],
)
def test_vocabulary_that_is_none(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_vocabulary(path)

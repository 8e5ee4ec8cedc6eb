"""Against two references: Hugging Face's ready-made tokenizer, and Google's rules in plain Python.

Ours lets Hugging Face's library tokenize new words that are not ASCII, so for these the second one
is the independent reference.
"""

import functools
import itertools
import json
import sys

import numpy as np
import pytest
from helpers.google_tokenizer import basic_words, google_ids, is_in_doubt
from helpers.text_fixtures import ids_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from tfbert.errors import InputError
from tfbert.models.formats.presets import load_tokenizer
from tfbert.text import tokenizer as tokenizer_module
from tfbert.text.corpus import read_documents
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary, read_vocabulary

# (lowercase, strip_accents, tokenize_chinese_chars): uncased and cased models, and their variants.
VARIANTS = (
    (True, None, True),
    (False, None, True),
    (True, False, True),
    (False, True, True),
    (True, None, False),
)
# Text, and the words that it must become in an uncased model.
SPECIAL_LINES = [
    ("", ""),
    (" \t\r\n", ""),
    ("no\u00a0break em\u2003space ideo\u3000graphic", "no break em space ideo graphic"),
    ("line\u2028paragraph\u2029end", "line paragraph end"),
    ("soft\u00adhyphen zero\u200bwidth join\u200der bom\ufeff", "softhyphen zerowidth joiner bom"),
    ("nul\0nul c1\x85\x9bc1 del\x7f", "nulnul c1c1 del"),
    ("v\x0btab f\x0cfeed g\x1dsep", "vtab ffeed gsep"),
    ("repl\ufffdaced half\ud83dpair", "replaced halfpair"),
    ("\0\0", ""),
    ("\u200b\u00ad", ""),
    ("Straße ẞ ﬁne x² ½ Ⅷ ℌ ｆｕｌｌ", "straße ß ﬁne x² ½ ⅷ ℌ ｆｕｌｌ"),
    ("Clichés, ÉCOLE Ångström İstanbul", "cliches , ecole angstrom istanbul"),
    ("e\u0301 \u0301 ,\u0301 кратко\u0439", "e , краткои"),
    ("don't 'quoted' U.S. $5.00 a_b ^~`|", "don ' t ' quoted ' u . s . $ 5 . 00 a _ b ^ ~ ` |"),
    ("“curly” – dash… ¿qué? «x» M‑28", "“ curly ” – dash … ¿ que ? « x » m ‑ 28"),
    ("我爱BERT模型！", "我 爱 bert 模 型 ！"),
    ("豈\uf900 𠀀a", "豈 豈 𠀀 a"),
    ("日本語カタカナがら 한국어", None),
    ("שָׁלוֹם مَرْحَبًا हिन्दी ภาษาไทย", None),
    ("👍🏽 👩‍👩‍👧 ☃ ❤️", None),
    ("a" * 100 + " " + "a" * 101 + " " + "é" * 100 + " " + "é" * 101, None),
    ("-" * 150 + "x" * 90 + "-" + "y" * 90, None),
    ("日" * 150, None),
]


@functools.cache
def ours(vocabulary, *variant):
    return BertTokenizer(vocabulary, *variant)


@functools.cache
def hugging_face(vocabulary, lowercase=True, strip_accents=None, tokenize_chinese_chars=True):
    """The ready-made tokenizer of the library, told of no special token but [UNK]."""
    return BertWordPieceTokenizer(
        dict(vocabulary.ids),
        lowercase=lowercase,
        strip_accents=strip_accents,
        handle_chinese_chars=tokenize_chinese_chars,
    )


def assert_equals_references(vocabulary, text, *variant):
    (ids,) = ours(vocabulary, *variant).encode([text])
    assert ids.dtype == np.int32
    # A literal "[CLS]" is text here and the token there; hypothesis tries strings of the sources.
    is_special = any(name in text for name in ("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"))
    if not is_special and not any(map(is_half_of_a_pair, text)):
        expected = hugging_face(vocabulary, *variant).encode(text, add_special_tokens=False)
        assert ids.tolist() == expected.ids
    if not is_in_doubt(text):
        assert ids.tolist() == google_ids(text, vocabulary.ids, *variant)


@pytest.fixture(scope="module")
def every_letter():
    """A vocabulary in which other letters are never the same ids: all characters of the plane."""
    characters = [
        chr(number)
        for number in itertools.chain(range(0x21, 0xD800), range(0xF900, 0xFFF0), [0x20000])
    ]
    characters = [it for it in characters if not it.isspace()]
    return Vocabulary([*SPECIAL_TOKENS, *characters, *("##" + it for it in characters)])


@pytest.fixture(scope="module")
def bert_vocabulary(real_data):
    return read_vocabulary(real_data / "bert-base-uncased-vocab.txt")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("text", "words"), SPECIAL_LINES)
def test_special_lines(every_letter, text, words, variant):
    assert_equals_references(every_letter, text, *variant)
    if words is not None and variant == VARIANTS[0]:
        assert basic_words(text.replace("\ud83d", ""), True) == words.split()
        (found,) = ours(every_letter, *variant).encode([text])
        (expected,) = ours(every_letter, *variant).encode([words])
        assert found.tolist() == expected.tolist()


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=126), max_size=60), st.sampled_from(VARIANTS))
def test_ascii(vocabulary, text, variant):
    for token in SPECIAL_TOKENS:
        text = text.replace(token, "")
    assert_equals_references(vocabulary, text, *variant)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=30),
        st.text("aAé\u0301ﬁß²日一 ’—\u3000\u200b\u00a0\x85\x1c\0\ufffd,.\u2028", max_size=30),
    ),
    st.sampled_from(VARIANTS),
)
def test_unicode(every_letter, text, variant):
    assert_equals_references(every_letter, text, *variant)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_character(every_letter, variant):
    numbers = itertools.chain(range(0xD800), range(0xE000, sys.maxunicode + 1))
    texts = [f"a{it}b {it} A" for it in map(chr, numbers)]
    tokenizer, reference = ours(every_letter, *variant), hugging_face(every_letter, *variant)
    expected = reference.encode_batch(texts, add_special_tokens=False)
    for text, ids, encoding in zip(texts, tokenizer.encode(texts), expected, strict=True):
        assert ids.tolist() == encoding.ids
        if not is_in_doubt(text):
            assert ids.tolist() == google_ids(text, every_letter.ids, *variant)


def test_many_texts_at_once_are_each_what_they_are_alone(every_letter, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "_GROUP", 40)
    texts = [text for text, _ in SPECIAL_LINES] * 3
    tokenizer = ours(every_letter)
    together = tokenizer.encode(texts)
    for text, ids in zip(texts, together, strict=True):
        assert ids.tolist() == tokenizer.encode([text])[0].tolist()
    assert tokenizer.encode([]) == []


def test_sentences_end_with_pad(vocabulary):
    packed = ours(vocabulary).encode_sentences(["it was", "", "the\0 movie"])
    ids = np.frombuffer(packed, vocabulary.dtype)
    pieces = [vocabulary.pieces[number] for number in ids]
    assert pieces == ["it", "was", "[PAD]", "[PAD]", "the", "movie", "[PAD]"]


def test_literal_special_tokens_are_ordinary_text(vocabulary):
    ids = ids_of(ours(vocabulary), "[MASK] [SEP]")
    assert [vocabulary.pieces[i] for i in ids[:3]] == ["[", "m", "##a"]
    assert not vocabulary.is_special()[ids].any()


@pytest.mark.parametrize("lowercase", [True, False])
def test_masks_where_they_are_meant(vocabulary, lowercase):
    """As Hugging Face's tokenizer does it once it knows the token."""
    texts = ["the [MASK] was", "[MASK][MASK].", "a[MASK]b", "[mask] [SEP]", "", "[MASK]"]
    reference = BertWordPieceTokenizer(dict(vocabulary.ids), lowercase=lowercase)
    reference.add_special_tokens(["[MASK]"])
    for text, ids in zip(texts, ours(vocabulary, lowercase).encode_masked(texts), strict=True):
        expected = reference.encode(text, add_special_tokens=False).ids
        if "[SEP]" not in text:
            assert ids.tolist() == expected
        assert (ids == vocabulary.mask).sum() == text.count("[MASK]")


def test_forgetting_words_changes_nothing(vocabulary, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "_REMEMBERED_WORDS", 2)
    tokenizer = BertTokenizer(vocabulary)
    texts = ["the movie was good", "watching it, and bad", "the movie was good"]
    expected = [ids_of(BertTokenizer(vocabulary), text) for text in texts]
    assert [ids_of(tokenizer, text) for text in texts] == expected


def test_remembered_words_are_bounded(vocabulary, monkeypatch):
    monkeypatch.setattr(tokenizer_module, "_REMEMBERED_WORDS", 50)
    monkeypatch.setattr(tokenizer_module, "_GROUP", 100)
    tokenizer = BertTokenizer(vocabulary)
    tokenizer.encode([f"w{number} {'x' * 50}{number}" for number in range(1000)])
    assert len(tokenizer._words) < 100


def test_large_vocabularies_take_four_bytes_an_id():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *map(str, range(70_000))])
    assert vocabulary.dtype == np.dtype("<i4")
    assert vocabulary.pieces[ids_of(BertTokenizer(vocabulary), "69999 [UNK]")[0]] == "69999"


@pytest.mark.parametrize("variant", [(True, None, True), (False, None, True), (True, False, False)])
def test_keras_hubs_tokenizer_and_back(vocabulary, variant):
    tokenizer = BertTokenizer(vocabulary, *variant)
    stock = tokenizer.to_keras_hub()
    assert stock.get_vocabulary() == list(vocabulary.pieces)
    text = "The movie, watching it: GOOD"
    assert np.asarray(stock(text)).tolist() == tokenizer.encode([text])[0].tolist()
    back = BertTokenizer.from_keras_hub(stock, tokenizer.strip_accents)
    for name in ("lowercase", "strip_accents", "tokenize_chinese_chars"):
        assert getattr(back, name) == getattr(tokenizer, name)
    assert back.vocabulary.pieces == vocabulary.pieces


def test_a_tensorflow_text_with_a_memory_error_is_refused(vocabulary, tmp_path, monkeypatch):
    tokenizer = BertTokenizer(vocabulary)
    tokenizer.to_keras_hub().save_to_preset(str(tmp_path))
    monkeypatch.setattr("importlib.metadata.version", {"tensorflow-text": "2.20.0"}.get)
    with pytest.raises(InputError, match=r"tensorflow-text 2\.20\.0.*pip install"):
        tokenizer.to_keras_hub()
    with pytest.raises(InputError, match=r"^tensorflow-text 2\.20\.0"):
        load_tokenizer(str(tmp_path), "m")
    assert len(tokenizer.encode(["good"])) == 1  # ours does not use it


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


@pytest.mark.parametrize("variant", VARIANTS[:2])
def test_natural_lines(natural_lines, bert_vocabulary, variant):
    tokenizer, reference = ours(bert_vocabulary, *variant), hugging_face(bert_vocabulary, *variant)
    expected = reference.encode_batch(natural_lines, add_special_tokens=False)
    found = tokenizer.encode(natural_lines)
    for line, ids, encoding in zip(natural_lines, found, expected, strict=True):
        assert ids.tolist() == encoding.ids
        # A fifth of the lines: the reference takes a millisecond a line.
        if len(line) % 5 == 0 and not is_in_doubt(line):
            assert ids.tolist() == google_ids(line, bert_vocabulary.ids, *variant)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_transformers(natural_lines, bert_vocabulary, every_letter, variant):
    """The class that people load, and the older one in Python, where they are installed."""
    transformers = pytest.importorskip("transformers")
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    options = dict(zip(names, variant, strict=True))
    special = [text for text, _ in SPECIAL_LINES if not any(map(is_half_of_a_pair, text))]
    for vocabulary, lines in ((bert_vocabulary, natural_lines), (every_letter, special)):
        found = ours(vocabulary, *variant).encode(lines)
        theirs = transformers.BertTokenizer(vocab=dict(vocabulary.ids), **options)
        expected = theirs(lines, add_special_tokens=False)["input_ids"]
        assert [ids.tolist() for ids in found] == expected


def is_half_of_a_pair(character):
    return "\ud800" <= character <= "\udfff"
